"""``logs-end``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.reading.amounts import between
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

DAYS = 30


class Kept(RuleConfig):
    days_most: int = 400


def _end(inputs: MutableMapping[str, Any]) -> None:
    days = inputs.get("retentionInDays")
    # One that ends too late is left: how late a stack allows isn't known here.
    if days is None or (isinstance(days, int | float) and days <= 0):
        inputs["retentionInDays"] = DAYS


@rule(
    "logs-end",
    "aws:cloudwatch/logGroup:LogGroup",
    "azure-native:operationalinsights:Workspace",
    group="operations",
    severity=Severity.MEDIUM,
    remedy="log_days of `operations` and `azure` in Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html",
    config=Kept,
    fix=_end,
)
def logs_end(group: Resource, config: Kept) -> Iterable[Violation]:
    """Logs are kept for so many days and no longer."""
    return group.require(
        "retentionInDays", f"1 to {config.days_most} days", lambda days: between(1, config.days_most, days)
    )
