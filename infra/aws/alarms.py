"""CloudWatch alarms that say it in a message of their own, and what no data means to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account


class Missing(StrEnum):
    """What a period without data says. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html"""

    WELL = "notBreaching"
    """A counter that is only written when there is something to count."""

    BAD = "breaching"
    """Something that reports always: its silence is the trouble."""

    UNCHANGED = "ignore"
    """A gap of a gauge: the state stays as it was."""


@dataclass(frozen=True)
class Metric:
    """``statistic``: Sum, Average, Minimum, Maximum or a percentile such as p99. ``period`` in seconds."""

    namespace: str
    name: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str = "Sum"
    period: int = 60


@dataclass(frozen=True)
class Alarm:
    """Goes off when ``metric`` is ``comparison`` ``threshold`` in ``periods`` periods one after the other.

    ``expression``: of CloudWatch's metric math over ``metrics`` by their ids, in place of one metric alone.
    ``text``: what is wrong and where to look first.
    """

    part: str
    text: str
    threshold: float
    metric: Metric | None = None
    expression: str = ""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    comparison: str = "GreaterThanThreshold"
    periods: int = 1
    missing: Missing = Missing.WELL


def alarm(
    name: str, account: Account, what: Alarm, topic_arn: pulumi.Input[str], parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Make it; the topic hears when it goes off and when it is over."""
    metric = what.metric
    percentile = metric is not None and metric.statistic.startswith("p")
    return aws.cloudwatch.MetricAlarm(
        f"{name}-{what.part}",
        # CloudWatch takes 255 characters.
        name="-".join((account.naming.prefix, name, what.part)),
        alarm_description=what.text,
        comparison_operator=what.comparison,
        threshold=what.threshold,
        evaluation_periods=what.periods,
        treat_missing_data=what.missing.value,
        namespace=metric.namespace if metric else None,
        metric_name=metric.name if metric else None,
        dimensions=metric.dimensions if metric else None,
        period=metric.period if metric else None,
        statistic=metric.statistic if metric and not percentile else None,
        extended_statistic=metric.statistic if metric and percentile else None,
        metric_queries=_queries(what) if what.expression else None,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _queries(what: Alarm) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    return [
        aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id="result", expression=what.expression, label=what.part, return_data=True
        ),
        *(
            aws.cloudwatch.MetricAlarmMetricQueryArgs(
                id=id_,
                metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=metric.dimensions,
                    period=metric.period,
                    stat=metric.statistic,
                ),
            )
            for id_, metric in what.metrics.items()
        ),
    ]


def queue_depth(part: str, queue: pulumi.Input[str], text: str) -> Alarm:
    """One message is too much: a dead letter is a request or an event that nobody has dealt with."""
    return Alarm(part, text, 0, messages(queue))


def messages(queue: pulumi.Input[str]) -> Metric:
    """How many wait in a queue."""
    return Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue}, "Maximum", 300)
