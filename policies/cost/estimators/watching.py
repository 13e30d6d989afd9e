"""Logs, alarms, dashboards; and the messages that they send."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import DAYS, Charge, NotEstimated, Surroundings, always, number, used
from policies.node import Resource

CALLS_PER_MESSAGE = 3
"""Of a queue: send, receive, delete."""


def log_group(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    kind = resource.get("logGroupClass", "STANDARD")
    if kind != "STANDARD":
        raise NotEstimated(f"logs of the class {kind}")
    size = around.usage.log_gb
    yield used(f"{size:g} GB of logs", "logs.gb", size)
    days = number(resource, "retentionInDays", 0.0)
    if not days:
        raise NotEstimated("logs that are kept for ever")
    yield used(f"{size:g} GB a month kept for {days:g} days", "logs.stored", size * days / DAYS)


def alarm(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """One with arithmetic costs as much as the metrics in it."""
    metrics = sum(each.get("metric") is not None for each in resource.each("metricQueries")) or 1
    if number(resource, "period", 60.0) < 60:
        raise NotEstimated("an alarm of a high resolution")
    yield always(f"an alarm of {metrics} {'metric' if metrics == 1 else 'metrics'}", "alarm", metrics)


def dashboard(_resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    yield always("the dashboard", "dashboard", 1)


def topic(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    yield used(f"{around.usage.messages:,.10g} messages", "sns.publish", around.usage.messages)


def subscription(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """What goes to functions and queues costs nothing."""
    protocol = resource.get("protocol")
    if protocol in ("lambda", "sqs"):
        return
    if protocol not in ("email", "email-json"):
        raise NotEstimated(f"messages by {protocol}")
    yield used(f"{around.usage.messages:,.10g} e-mails", "sns.email", around.usage.messages)


def queue(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    yield used(f"{around.usage.messages:,.10g} messages", "sqs.request", CALLS_PER_MESSAGE * around.usage.messages)


def event_rule(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Events of a bucket are billed like one's own."""
    yield used(f"{around.usage.messages:,.10g} events", "event", around.usage.messages)
