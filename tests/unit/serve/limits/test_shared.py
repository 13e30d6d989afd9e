"""The limits of several replicas together: what they let in at most, in the long run, and each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.caller import Limits
from tests.unit.serve.limits.replicas import Network, Replicas

Arrivals = Callable[[int, random.Random], Iterator[tuple[float, int]]]


def steadily(per_second: float, rows: int = 1) -> Arrivals:
    def arrivals(_: int, chance: random.Random) -> Iterator[tuple[float, int]]:
        while True:
            yield chance.expovariate(per_second), rows

    return arrivals


def in_bursts(per_second: float, most_rows: int = 1) -> Arrivals:
    """Much at once, then nothing for up to 1.5 s, now and then."""

    def arrivals(_: int, chance: random.Random) -> Iterator[tuple[float, int]]:
        while True:
            yield chance.choice((0.0, chance.uniform(0, 1.5))), chance.randint(1, most_rows)
            for _ in range(chance.randint(0, int(3 * per_second))):
                yield chance.expovariate(3 * per_second), chance.randint(1, most_rows)

    return arrivals


def bound(count: int, rate: float, burst: float, network: Network) -> float:
    """What ``serve.limits.sharing`` promises, above the rate times the window."""
    return burst + (count - 1) * (burst + rate * network.news_age)


networks = st.builds(
    Network, delay=st.sampled_from([0.0, 0.005, 0.1]), loss=st.sampled_from([0.0, 0.2, 0.9]), losses=st.integers(0, 3)
)


@settings(max_examples=40)
@given(
    count=st.integers(1, 4),
    rate=st.sampled_from([0.5, 1, 3.7, 20, 60]),
    network=networks,
    configured=st.sampled_from([1, 4]),
    steady=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_over_any_window_no_more_requests_are_let_in_than_the_bound(
    count: int, rate: float, network: Network, configured: int, steady: bool, seed: int
) -> None:
    arrivals = steadily(2 * rate + 5) if steady else in_bursts(rate + 2)
    limits = Limits(requests_per_second=rate)
    world = Replicas(count, limits, arrivals, 8, network, seed, configured=configured).run()
    assert world.overshoot(rate) <= bound(count, rate, max(1, rate), network) + 1e-6


@settings(max_examples=20)
@given(
    count=st.integers(1, 4),
    rate=st.sampled_from([5, 50, 300]),
    most=st.sampled_from([1, 10, 200]),
    network=networks,
    seed=st.integers(0, 10**6),
)
def test_over_any_window_no_more_rows_are_let_in_than_the_bound(
    count: int, rate: float, most: int, network: Network, seed: int
) -> None:
    world = Replicas(count, Limits(rows_per_second=rate), in_bursts(20, most), 8, network, seed).run()
    assert world.overshoot(rate, rows=True) <= bound(count, rate, max(rate, most), network) + 1e-6


@pytest.mark.parametrize("rate", [2, 15])
@pytest.mark.parametrize(
    "network",
    [Network(), Network(delay=0.05), Network(delay=0.02, loss=0.2, losses=3)],
    ids=["no delay", "delays", "losses"],
)
@pytest.mark.parametrize("count", [2, 3])
def test_in_steady_overload_the_rate_is_kept_in_the_long_run_and_no_replica_starves(
    count: int, network: Network, rate: float
) -> None:
    start, end = 20, 100
    arrivals = steadily(rate + 25)
    world = Replicas(count, Limits(requests_per_second=rate), arrivals, end, network, seed=7, configured=count).run()
    due = rate * (end - start)
    assert world.total(start) == pytest.approx(due, rel=0.05)
    for replica in range(count):
        assert world.total(start, replica) > 0.4 * due / count
        assert world.total(end - 50, replica) > 0


def test_one_replica_alone_is_exact() -> None:
    rate = 10
    world = Replicas(1, Limits(requests_per_second=rate), steadily(50), 20).run()
    assert world.overshoot(rate) <= rate + 1e-6
    assert len(world.admitted) >= rate * 21 - 1


def test_a_key_that_keeps_to_its_limit_on_one_connection_is_never_refused() -> None:
    def arrivals(number: int, _: random.Random) -> Iterator[tuple[float, int]]:
        if number == 0:
            for second in range(10):
                yield 1.0 if second else 0.0, 1
                yield from [(0.0, 1)] * 9

    world = Replicas(3, Limits(requests_per_second=10), arrivals, 12, Network(delay=0.01)).run()
    assert len(world.admitted) == 100


@settings(max_examples=20)
@given(count=st.integers(1, 4), limit=st.integers(1, 12), network=networks, seed=st.integers(0, 10**6))
def test_no_more_requests_run_at_once_than_each_replica_could_start_alone(
    count: int, limit: int, network: Network, seed: int
) -> None:
    world = Replicas(count, Limits(concurrency=limit), steadily(30), 6, network, seed, hold=0.3, configured=count)
    assert world.run().most_running <= count * limit


def test_long_requests_in_overload_keep_to_the_limit_and_every_replica_gets_its_part() -> None:
    world = Replicas(3, Limits(concurrency=9), steadily(60), 30, Network(delay=0.01), hold=1.0).run()
    for replica in range(3):
        assert world.total(10, replica) >= 3 * 20 * 0.9
    # A slot that is free counts as free to all, until they hear that one of them took it.
    assert world.total(10) <= 9 * 20 * 1.25
