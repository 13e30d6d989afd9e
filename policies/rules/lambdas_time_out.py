"""``lambdas-time-out``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.reading.amounts import between
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

DEFAULT = 3
"""Lambda's own, in seconds."""


class Timeout(RuleConfig):
    seconds: int = 300


@rule(
    "lambdas-time-out",
    "aws:lambda/function:Function",
    group="pipelines and functions",
    severity=Severity.LOW,
    remedy="timeout=…, or function.timeout_seconds of Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html",
    config=Timeout,
)
def lambdas_time_out(function: Resource, config: Timeout) -> Iterable[Violation]:
    """A function that hangs is ended before it costs much."""
    if not between(1, config.seconds, function.get("timeout", DEFAULT)):
        yield function.violation("timeout", f"1 to {config.seconds} seconds", function.get("timeout"))
