"""``lambdas-reserve-concurrency``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.reading.amounts import between
from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Concurrency(RuleConfig):
    most: int = 100


@rule(
    "lambdas-reserve-concurrency",
    "aws:lambda/function:Function",
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy="reserved_concurrent_executions=…, or function.concurrency of Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html",
    config=Concurrency,
)
def lambdas_reserve_concurrency(function: Resource, config: Concurrency) -> Iterable[Violation]:
    """A function has a share of the account's concurrency, so that it neither takes nor loses all of it."""
    return function.require(
        "reservedConcurrentExecutions", f"0 to {config.most}", lambda count: between(0, config.most, count)
    )
