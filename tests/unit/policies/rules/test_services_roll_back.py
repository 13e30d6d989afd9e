"""``services-roll-back``."""

from __future__ import annotations

import pytest

from policies.rules.services_roll_back import services_roll_back
from policies.testing import Case, Cases, drop, put, resource

SERVICE = "aws:ecs/service:Service"
BREAKER = "deploymentCircuitBreaker"

CASES = Cases(
    services_roll_back,
    passing=[
        resource(SERVICE, {BREAKER: {"enable": True, "rollback": True}}),
        resource(SERVICE, {"deploymentController": {"type": "CODE_DEPLOY"}}),
    ],
    failing=[put(f"{BREAKER}.enable", False), drop(f"{BREAKER}.rollback"), drop(BREAKER)],
    unknown=[f"{BREAKER}.rollback", BREAKER],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_services_roll_back(case: Case) -> None:
    case.check()
