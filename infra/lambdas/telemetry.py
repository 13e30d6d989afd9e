"""What the ingress measures, as CloudWatch's embedded metric format; its refusals, as lines of the log."""

from __future__ import annotations

from collections.abc import Mapping

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from serve.gateway.access_log import AccessLog, Line

NAMESPACE = "MlFunction"
NONE = "-"
"""A dimension that does not apply: CloudWatch takes no empty one."""

NOT_KEPT = frozenset({"ingress_batch_requests", "ingress_batch_rows"})
"""An environment has one request at a time, so these say nothing; each metric costs by its number of dimensions."""


class EmbeddedMetrics:
    """A ``serve.gateway.metrics.Sink``. What came since the last ``flush`` is one line for each set of tags."""

    def __init__(self, service: str, namespace: str = NAMESPACE) -> None:
        self._service = service
        self._namespace = namespace
        self._found: dict[tuple[tuple[str, str], ...], list[tuple[str, MetricUnit, float]]] = {}

    def count(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._add(name, MetricUnit.Count, value, tags)

    def observe(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._add(name, MetricUnit.Seconds if name.endswith("_seconds") else MetricUnit.Count, value, tags)

    def level(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._add(name, MetricUnit.Count, value, tags)

    def flush(self) -> None:
        """Write them to standard output, where Lambda's log takes them from."""
        found, self._found = self._found, {}
        for tags, values in found.items():
            metrics = EphemeralMetrics(namespace=self._namespace, service=self._service)
            for name, value in tags:
                metrics.add_dimension(name, value or NONE)
            for metric, unit, amount in values:
                metrics.add_metric(metric, unit, amount)
            metrics.flush_metrics()

    def _add(self, name: str, unit: MetricUnit, value: float, tags: Mapping[str, str]) -> None:
        if name not in NOT_KEPT:
            self._found.setdefault(tuple(tags.items()), []).append((name, unit, value))


class RefusalLog(AccessLog):
    """Refusals, one line each; good answers are counted by the metrics, and API Gateway has a log of its own."""

    def __init__(self, logger: Logger) -> None:
        super().__init__(None, 0)
        self._logger = logger

    def wants(self, status: int) -> bool:
        return status >= 400

    def write(self, line: Line) -> None:
        fields = {name: value for name in Line.__slots__ if (value := getattr(line, name)) is not None}
        self._logger.warning("refused", extra={f"http_{name}": value for name, value in fields.items()})
