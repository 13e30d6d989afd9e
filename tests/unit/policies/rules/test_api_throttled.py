"""``api-throttled``."""

from __future__ import annotations

import pytest

from policies.rules.api_throttled import api_throttled
from policies.testing import Case, Cases, drop, put, resource

CASES = Cases(
    api_throttled,
    passing=[
        resource(
            "aws:apigatewayv2/stage:Stage",
            {"defaultRouteSettings": {"throttlingBurstLimit": 400, "throttlingRateLimit": 200.0}},
        ),
        resource(
            "aws:apigateway/methodSettings:MethodSettings",
            {"settings": {"throttlingBurstLimit": 5, "throttlingRateLimit": 0.5}},
        ),
    ],
    failing=[
        drop("defaultRouteSettings"),
        drop("defaultRouteSettings.throttlingBurstLimit"),
        put("defaultRouteSettings.throttlingRateLimit", 0),
        put("defaultRouteSettings.throttlingRateLimit", -1),
        resource("aws:apigateway/methodSettings:MethodSettings", {"settings": {"throttlingBurstLimit": 5}}),
    ],
    unknown=["defaultRouteSettings", "defaultRouteSettings.throttlingRateLimit"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_api_throttled(case: Case) -> None:
    case.check()
