"""A token bucket, by a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.limits.bucket import Bucket


def test_a_new_bucket_holds_one_seconds_worth_and_then_gives_at_its_rate() -> None:
    bucket = Bucket(10, 0)
    assert [bucket.take(1, 0) for _ in range(10)] == [0] * 10
    assert bucket.take(1, 0) == pytest.approx(0.1)
    assert bucket.take(1, 0.1) == 0
    assert bucket.take(1, 0.1) == pytest.approx(0.1)


def test_a_rate_below_one_per_second_still_gives_whole_tokens() -> None:
    bucket = Bucket(0.25, 0)
    assert bucket.take(1, 0) == 0
    assert bucket.take(1, 1) == pytest.approx(3)
    assert bucket.take(1, 4) == 0


def test_no_more_than_the_burst_is_kept() -> None:
    bucket = Bucket(5, 0)
    assert bucket.take(5, 1000) == 0
    assert bucket.take(1, 1000) == pytest.approx(0.2)


def test_a_refused_take_takes_nothing() -> None:
    bucket = Bucket(10, 0)
    bucket.take(8, 0)
    assert bucket.take(5, 0) == pytest.approx(0.3)
    assert bucket.take(2, 0) == 0


def test_a_take_of_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = Bucket(10, 0)
    bucket.take(5, 0)
    assert bucket.take(100, 0) == pytest.approx(0.5)
    assert bucket.take(100, 0.5) == 0
    assert bucket.level == pytest.approx(-90)
    assert bucket.take(1, 0.5) == pytest.approx(9.1)
    assert bucket.take(1, 9.6) == 0


def test_a_clock_that_stands_or_goes_back_fills_nothing() -> None:
    bucket = Bucket(1, 5)
    assert bucket.take(1, 5) == 0
    assert bucket.take(1, 3) == pytest.approx(1)
    assert bucket.take(1, 5.5) == pytest.approx(0.5)


def test_a_part_of_a_bucket_has_its_part_of_tokens_and_debt_and_gets_them_back() -> None:
    bucket = Bucket(30, 0)
    bucket.take(15, 0)
    bucket.divide(3, 0)
    assert (bucket.level, bucket.rate, bucket.burst) == (5, 10, 10)
    bucket.debit(25, 0)
    bucket.divide(1, 1)
    assert (bucket.level, bucket.rate, bucket.burst) == (-30, 30, 30)


def test_a_part_never_holds_less_than_one_token() -> None:
    bucket = Bucket(2, 0)
    bucket.divide(4, 0)
    assert bucket.take(1, 0) == pytest.approx(1)
    assert bucket.take(1, 1) == 0
    assert bucket.take(1, 2.9) > 0
    assert bucket.take(1, 3) == 0


def test_another_rate_does_not_give_back_what_was_taken() -> None:
    bucket = Bucket(10, 0)
    bucket.take(8, 0)
    bucket.change(20, 0)
    assert (bucket.level, bucket.spent) == (12, 8)
    bucket.change(5, 0)
    assert (bucket.level, bucket.spent) == (-3, 8)


@given(
    rate=st.floats(0.1, 1000),
    takes=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 3000)), max_size=60),
)
def test_over_any_window_no_more_is_taken_than_the_rate_and_the_burst(
    rate: float, takes: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate, 0)
    now = 0.0
    taken: list[tuple[float, int]] = []
    for pause, n in takes:
        now += pause
        if not bucket.take(n, now):
            taken.append((now, n))
    for first, (start, _) in enumerate(taken):
        total, largest = 0, 0
        for at, n in taken[first:]:
            total += n
            largest = max(largest, n)
            assert total <= (at - start) * rate + max(1, rate, largest) + 1e-3


@given(rate=st.floats(0.1, 1000), n=st.integers(1, 3000), spent=st.integers(0, 3000))
def test_after_the_wait_that_it_names_a_take_succeeds(rate: float, n: int, spent: int) -> None:
    bucket = Bucket(rate, 0)
    bucket.debit(spent, 0)
    wait = bucket.take(n, 0)
    assert wait == 0 or bucket.take(n, wait * (1 + 1e-9) + 1e-6) == 0
