"""``api-throttled``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

SETTINGS: Mapping[str, str] = {
    "aws:apigatewayv2/stage:Stage": "defaultRouteSettings",
    "aws:apigateway/methodSettings:MethodSettings": "settings",
}
"""Type → where its limits are."""


@rule(
    "api-throttled",
    *SETTINGS,
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy="requests_per_second and burst of `function` in Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html",
)
def api_throttled(stage: Resource) -> Iterable[Violation]:
    """An API takes so many requests a second, and so many at once, and refuses the rest."""
    for limit in ("throttlingRateLimit", "throttlingBurstLimit"):
        yield from stage.require(f"{SETTINGS[stage.type]}.{limit}", "a limit above 0", _is_limit)


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
