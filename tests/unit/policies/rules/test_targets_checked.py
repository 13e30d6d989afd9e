"""``targets-checked``."""

from __future__ import annotations

import pytest

from policies.rules.targets_checked import targets_checked
from policies.testing import Case, Cases, drop, put, resource

GROUP = "aws:lb/targetGroup:TargetGroup"

CASES = Cases(
    targets_checked,
    passing=[
        resource(GROUP, {"protocol": "HTTP", "healthCheck": {"path": "/health"}}),
        resource(GROUP, {"protocol": "TCP", "healthCheck": {"port": "traffic-port"}}),
        resource(GROUP, {"targetType": "lambda"}),
    ],
    failing=[
        drop("healthCheck"),
        drop("healthCheck.path"),
        put("healthCheck.path", ""),
        put("healthCheck.enabled", False),
        resource(GROUP, {"protocol": "TCP", "healthCheck": {"protocol": "HTTP"}}),
    ],
    unknown=["healthCheck", "healthCheck.path", "protocol"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_targets_checked(case: Case) -> None:
    case.check()
