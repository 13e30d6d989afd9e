"""``alarms-tell``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.rule import Resource, Severity, Violation, rule


@rule(
    "alarms-tell",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    group="operations",
    severity=Severity.MEDIUM,
    remedy="alarm_actions=[alerts_topic_arn], as infra.aws.alarms.alarm has it",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html",
)
def alarms_tell(alarm: Resource) -> Iterable[Violation]:
    """An alarm that goes off does something: it tells somebody, or changes a size."""
    yield from alarm.require("actionsEnabled", "not to be off", lambda enabled: enabled is not False)
    # Which action it is need not be known yet.
    if not any(each.value for each in alarm.each("alarmActions")):
        yield alarm.violation("alarmActions", "an action", None)
