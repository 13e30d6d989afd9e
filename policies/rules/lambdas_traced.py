"""``lambdas-traced``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule


def _trace(inputs: MutableMapping[str, Any]) -> None:
    inputs["tracingConfig"] = {"mode": "Active"}


@rule(
    "lambdas-traced",
    "aws:lambda/function:Function",
    group="operations",
    severity=Severity.LOW,
    remedy='tracing_config=FunctionTracingConfigArgs(mode="Active")',
    source="https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
    fix=_trace,
)
def lambdas_traced(function: Resource) -> Iterable[Violation]:
    """A function's requests are traced by X-Ray."""
    return function.expect("tracingConfig.mode", "Active")
