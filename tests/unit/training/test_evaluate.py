from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluate import pictures, scores, scores_by_month

LABEL = np.array([1.0, 0.0, 1.0, 0.0])
PROBABILITY = np.array([0.9, 0.8, 0.4, 0.1], np.float32)


def test_scores_are_those_worked_out_by_hand() -> None:
    found = scores(LABEL, PROBABILITY)
    assert found.auc == pytest.approx(3 / 4)
    assert found.ap == pytest.approx((1 + 2 / 3) / 2)
    assert found.brier == pytest.approx((0.1**2 + 0.8**2 + 0.6**2 + 0.1**2) / 4)
    assert found.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.2, 0.4, 0.9))) / 4)
    assert found.positive_rate == 0.5
    assert found.rows == 4


def test_a_month_with_one_outcome_has_no_ranking_but_has_a_loss() -> None:
    found = scores(np.zeros(2), np.array([0.5, 0.5]))
    assert math.isnan(found.auc)
    assert math.isnan(found.ap)
    assert found.log_loss == pytest.approx(math.log(2))


def test_a_month_is_cut_by_the_clocks_of_the_reporting_timezone() -> None:
    # 04:30 UTC on 1 December is still 23:30 of 30 November in New York.
    times = np.array(["2013-12-01T04:30", "2013-12-01T05:30"], "datetime64[us]")
    found = scores_by_month(times, np.array([1.0, 0.0]), np.array([0.7, 0.2]), "America/New_York")
    assert {month: value.rows for month, value in found.items()} == {"2013-11": 1, "2013-12": 1}
    assert found["2013-11"].positive_rate == 1.0


def test_metrics_carry_the_name_of_their_split() -> None:
    assert set(scores(LABEL, PROBABILITY).named("test")) == {
        "test_auc",
        "test_ap",
        "test_brier",
        "test_log_loss",
        "test_positive_rate",
        "test_rows",
    }


def test_the_pictures_are_the_three_curves_and_the_months() -> None:
    by_month = {"2013-11": scores(LABEL, PROBABILITY)}
    found = pictures(LABEL, PROBABILITY, by_month)
    assert set(found) == {"roc.png", "precision_recall.png", "calibration.png", "by_month.png"}
    labels = [text.get_text() for text in found["roc.png"].axes[0].get_legend().get_texts()]
    assert "AUC 0.750" in labels
