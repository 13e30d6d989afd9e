"""How good the probabilities are: the four numbers, by period, and the three pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Scores:
    """Of probabilities against outcomes. ``rows`` were scored, ``positive_rate`` of them came true."""

    auc: float
    ap: float
    brier: float
    log_loss: float
    positive_rate: float
    rows: int

    def named(self, prefix: str) -> dict[str, float]:
        return {f"{prefix}_{name}": float(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"AUC {self.auc:.4f}  AP {self.ap:.4f}  Brier {self.brier:.4f}  log-loss {self.log_loss:.4f}"


def scores(label: np.ndarray, probability: np.ndarray) -> Scores:
    """Score ``probability`` [N] against ``label`` [N] in {0, 1}.

    Where only one outcome was seen, AUC and AP are NaN: there is nothing to rank.
    """
    both = len(np.unique(label)) == 2
    probability = probability.astype(np.float64)
    return Scores(
        auc=float(roc_auc_score(label, probability)) if both else float("nan"),
        ap=float(average_precision_score(label, probability)) if both else float("nan"),
        brier=float(brier_score_loss(label, probability)),
        log_loss=float(log_loss(label, probability, labels=[0, 1])),
        positive_rate=float(label.mean()),
        rows=len(label),
    )


def scores_by_month(
    event_time: np.ndarray, label: np.ndarray, probability: np.ndarray, timezone: str
) -> dict[str, Scores]:
    """Scores of each calendar month, ``YYYY-MM``, as the clocks of ``timezone`` cut them.

    ``event_time`` [N] datetime64[us], in UTC.
    """
    local = pd.DatetimeIndex(event_time).tz_localize("UTC").tz_convert(ZoneInfo(timezone))
    month = local.strftime("%Y-%m").to_numpy()
    return {str(name): scores(label[month == name], probability[month == name]) for name in np.unique(month)}


def pictures(label: np.ndarray, probability: np.ndarray, by_month: Mapping[str, Scores]) -> dict[str, Figure]:
    """File name → figure: ROC, precision-recall and calibration curves, and the scores by month."""
    return {
        "roc.png": _roc(label, probability),
        "precision_recall.png": _precision_recall(label, probability),
        "calibration.png": _calibration(label, probability),
        "by_month.png": _by_month(by_month),
    }


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _roc(label: np.ndarray, probability: np.ndarray) -> Figure:
    figure, axes = _axes("ROC, test split", "false positive rate", "true positive rate")
    false_positive, true_positive, _ = roc_curve(label, probability)
    axes.plot(false_positive, true_positive, label=f"AUC {roc_auc_score(label, probability):.3f}")
    axes.plot([0, 1], [0, 1], "--", color="grey", label="chance")
    axes.legend(loc="lower right")
    return figure


def _precision_recall(label: np.ndarray, probability: np.ndarray) -> Figure:
    figure, axes = _axes("Precision and recall, test split", "recall", "precision")
    precision, recall, _ = precision_recall_curve(label, probability)
    axes.plot(recall, precision, label=f"AP {average_precision_score(label, probability):.3f}")
    axes.axhline(label.mean(), linestyle="--", color="grey", label=f"base rate {label.mean():.3f}")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="upper right")
    return figure


def _calibration(label: np.ndarray, probability: np.ndarray) -> Figure:
    figure, axes = _axes("Calibration, test split (20 bins of equal size)", "predicted probability", "observed rate")
    observed, predicted = calibration_curve(label, probability, n_bins=20, strategy="quantile")
    axes.plot(predicted, observed, "o-", label="model")
    axes.plot([0, 1], [0, 1], "--", color="grey", label="perfect")
    axes.legend(loc="upper left")
    return figure


def _by_month(by_month: Mapping[str, Scores]) -> Figure:
    figure, axes = _axes("Test scores by month", "month", "score")
    months = list(by_month)
    for name in ("auc", "ap", "positive_rate"):
        axes.plot(months, [getattr(by_month[month], name) for month in months], "o-", label=name)
    axes.set_ylim(0, 1)
    axes.legend()
    return figure
