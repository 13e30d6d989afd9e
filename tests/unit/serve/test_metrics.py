"""What is counted of a request and of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from serve.gateway.metrics import COUNTERS, GAUGES, HISTOGRAMS, Meter, Served, levels
from serve.placement.base import Batch

GOOD = {"protocol": "invocations", "model": "parcels", "version": "7", "code": "200"}


class Kept:
    """A sink that keeps everything, and takes only what the module describes."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, tuple[str, ...]], float] = {}
        self.observed: list[tuple[str, float, dict[str, str]]] = []
        self.levels: dict[tuple[str, tuple[str, ...]], float] = {}

    def count(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        assert set(tags) == set(COUNTERS[name].tags)
        self.counts[name, tuple(tags.values())] = value

    def observe(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        assert set(tags) == set(HISTOGRAMS[name].tags)
        self.observed.append((name, value, dict(tags)))

    def level(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        assert set(tags) == set(GAUGES[name].tags)
        self.levels[name, tuple(tags.values())] = value


def flushed(meter: Meter) -> Kept:
    kept = Kept()
    asyncio.run(meter.flush(kept))
    return kept


def test_requests_are_counted_and_timed_by_protocol_model_version_and_code() -> None:
    meter = Meter()
    for seconds in (0.001, 0.002):
        meter.request(Served("invocations", "parcels", "7", "200", 3, seconds, None))
    meter.request(Served("invocations", "", "", "401", 0, 0.0001, "Unauthenticated"))
    kept = flushed(meter)
    assert kept.counts == {
        ("ingress_requests_total", ("invocations", "parcels", "7", "200")): 2,
        ("ingress_rows_total", ("invocations", "parcels", "7")): 6,
        ("ingress_requests_total", ("invocations", "", "", "401")): 1,
        ("ingress_rejected_total", ("invocations", "", "Unauthenticated")): 1,
    }
    assert kept.observed[:2] == [
        ("ingress_request_seconds", 0.001, GOOD),
        ("ingress_request_seconds", 0.002, GOOD),
    ]


def test_each_run_of_a_model_is_timed_with_its_size() -> None:
    meter = Meter()
    meter.watch("parcels")(Batch(4, 40, 0.01))
    assert flushed(meter).observed == [
        ("ingress_run_seconds", 0.01, {"model": "parcels"}),
        ("ingress_batch_requests", 4, {"model": "parcels"}),
        ("ingress_batch_rows", 40, {"model": "parcels"}),
    ]


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    meter = Meter()
    meter.request(Served("invocations", "parcels", "7", "200", 1, 0.001, None))
    flushed(meter)
    assert flushed(meter).counts == {}


def test_levels_are_what_is_there_now() -> None:
    kept = Kept()
    levels(kept, 3, {"parcels": 2})
    assert kept.levels == {("ingress_in_flight", ()): 3, ("ingress_waiting", ("parcels",)): 2}
