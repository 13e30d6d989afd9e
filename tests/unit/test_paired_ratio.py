from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.llm import Round, table
from benchmarks.paired import Ratio, ratio


def turns(*rates: float, who: str, streams: int = 4, wait: float = 0.1, cpu: float = 0.2) -> list[Round]:
    return [Round(who, streams, rate, wait, cpu) for rate in rates]


def test_a_ratio_is_that_within_rounds_so_a_pace_that_changes_between_them_is_none_of_it() -> None:
    assert ratio([9.0, 90.0, 0.9], [10.0, 100.0, 1.0]) == Ratio(*[pytest.approx(0.9)] * 3)


@pytest.mark.parametrize(("rounds", "left_out"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5), (25, 7)])
def test_as_many_ratios_are_left_out_at_either_end_as_tables_of_the_sign_test_allow(rounds: int, left_out: int) -> None:
    measured = [float(number) for number in range(1, rounds + 1)]
    random.Random(0).shuffle(measured)
    found = ratio(measured, [1.0] * rounds)
    assert (found.low, found.high) == (1.0 + left_out, rounds - left_out)


def test_the_interval_holds_the_median_of_all_in_95_of_100_runs() -> None:
    chance = random.Random(7)
    runs = [ratio([chance.lognormvariate(0, 0.1) for _ in range(12)], [1.0] * 12) for _ in range(4000)]
    assert statistics.fmean(run.low <= 1.0 <= run.high for run in runs) == pytest.approx(0.961, abs=0.01)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40))
def test_the_median_is_within_the_interval_and_the_interval_within_what_was_measured(measured: list[float]) -> None:
    found = ratio(measured, [1.0] * len(measured))
    assert min(measured) <= found.low <= found.median <= found.high <= max(measured)


@pytest.mark.parametrize("theirs", [[], [1.0], [1.0, 1.0, 1.0]])
def test_a_turn_without_the_other_one_is_no_ratio(theirs: list[float]) -> None:
    with pytest.raises(ValueError):
        ratio([1.0, 1.0] if theirs else [], theirs)


def test_the_table_has_both_medians_the_ratio_and_what_the_gateway_takes_beside_what_it_takes_idle() -> None:
    ours = turns(95, 190, 48, who="ingress", wait=0.11, cpu=0.25)
    theirs = turns(100, 200, 50, who="vLLM", cpu=0.125)
    heads, line, asked = table([*ours, *theirs])
    assert " ".join(heads.split()) == "STREAMS TOKENS/S vLLM RATIO FIRST TOKEN vLLM RATIO GATEWAY CPU A TOKEN"
    told = "4 95.0 100.0 0.95 (0.95-0.96) 0.110 s 0.100 s 1.10 (1.10-1.10) 0.25 ms, 0.12 idle"
    assert " ".join(line.split()) == told
    assert asked == "asked: at least 0.95 × the tokens, at most 1.1 × the wait for the first"
