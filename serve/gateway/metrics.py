"""What is counted, and how it gets to Prometheus: through Ray's exporter, as ``ray_ingress_*``.

A request only appends to a list; once a second the list is turned into Ray's counters and histograms,
a few at a time, so that nobody's request waits for the metrics of another's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serve.placement.base import Batch, Watch

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)

MOST_KEPT = 100_000
"""Records that wait for the next flush at most; more are counted without their time."""

CHUNK = 25

REQUEST = ("protocol", "model", "version", "code")


@dataclass(frozen=True, slots=True)
class Served:
    """One request, answered. ``reason`` is the error's class where it was refused."""

    protocol: str
    model: str
    version: str
    code: str
    rows: int
    seconds: float
    reason: str | None


class Sink(Protocol):
    """Where metrics go."""

    def count(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...
    def observe(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...
    def level(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's description, tags, and bucket bounds where it is a histogram."""

    description: str
    tags: tuple[str, ...]
    bounds: tuple[float, ...] = ()


COUNTERS = {
    "ingress_requests_total": Metric("Requests answered.", REQUEST),
    "ingress_rows_total": Metric("Rows predicted.", ("protocol", "model", "version")),
    "ingress_rejected_total": Metric("Requests refused, by reason.", ("protocol", "model", "reason")),
}
HISTOGRAMS = {
    "ingress_request_seconds": Metric("From a request's first byte to its answer.", REQUEST, SECONDS),
    "ingress_run_seconds": Metric("A run of a model, the way to its replica included.", ("model",), SECONDS),
    "ingress_batch_requests": Metric("Requests that shared a run.", ("model",), SIZES),
    "ingress_batch_rows": Metric("Rows in a run.", ("model",), SIZES),
}
GAUGES = {
    "ingress_in_flight": Metric("Requests in this replica now.", ()),
    "ingress_waiting": Metric("Requests that wait for a run now.", ("model",)),
}


class Meter:
    """The measurements of one replica."""

    def __init__(self) -> None:
        self._served: deque[Served] = deque()
        self._runs: deque[tuple[str, Batch]] = deque()
        self.lost = 0

    def request(self, served: Served) -> None:
        if len(self._served) < MOST_KEPT:
            self._served.append(served)
        else:
            self.lost += 1

    def watch(self, model: str) -> Watch:
        """What a place calls after each run of this model."""
        runs = self._runs

        def record(batch: Batch) -> None:
            if len(runs) < MOST_KEPT:
                runs.append((model, batch))

        return record

    async def flush(self, sink: Sink) -> None:
        """Hand everything over that came since the last time."""
        counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        for index in range(len(self._served)):
            self._hand_over(self._served.popleft(), counts, sink)
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        for index in range(len(self._runs)):
            model, batch = self._runs.popleft()
            tags = {"model": model}
            sink.observe("ingress_run_seconds", batch.seconds, tags)
            sink.observe("ingress_batch_requests", batch.requests, tags)
            sink.observe("ingress_batch_rows", batch.rows, tags)
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        for (name, labels), value in counts.items():
            sink.count(name, value, dict(labels))

    def _hand_over(self, served: Served, counts: Counter[tuple[str, tuple[tuple[str, str], ...]]], sink: Sink) -> None:
        tags = {
            "protocol": served.protocol, "model": served.model, "version": served.version, "code": served.code
        }  # fmt: skip
        items = tuple(tags.items())
        counts["ingress_requests_total", items] += 1
        if served.rows:
            counts["ingress_rows_total", items[:3]] += served.rows
        if served.reason is not None:
            counts["ingress_rejected_total", (*items[:2], ("reason", served.reason))] += 1
        sink.observe("ingress_request_seconds", served.seconds, tags)


class RayMetrics:
    """Ray's exporter: every metric of this module, in this process."""

    def __init__(self) -> None:
        from ray.util import metrics

        made: dict[str, Any] = {}
        for kind, described in ((metrics.Counter, COUNTERS), (metrics.Gauge, GAUGES)):
            for name, metric in described.items():
                made[name] = kind(name, description=metric.description, tag_keys=metric.tags)
        for name, metric in HISTOGRAMS.items():
            made[name] = metrics.Histogram(
                name, description=metric.description, boundaries=list(metric.bounds), tag_keys=metric.tags
            )
        self._metrics = made

    def count(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._metrics[name].inc(value, dict(tags))

    def observe(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._metrics[name].observe(value, dict(tags))

    def level(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._metrics[name].set(value, dict(tags))


def levels(sink: Sink, in_flight: int, waiting: Mapping[str, int]) -> None:
    """The gauges, as they stand now."""
    sink.level("ingress_in_flight", in_flight, {})
    for model, count in waiting.items():
        sink.level("ingress_waiting", count, {"model": model})
