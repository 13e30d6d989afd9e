"""``load-balancers-drop-invalid-headers``."""

from __future__ import annotations

import pytest

from policies.rules.load_balancers_drop_invalid_headers import load_balancers_drop_invalid_headers
from policies.testing import Case, Cases, drop, put, resource

TYPE = "aws:lb/loadBalancer:LoadBalancer"

CASES = Cases(
    load_balancers_drop_invalid_headers,
    passing=[
        resource(TYPE, {"loadBalancerType": "application", "dropInvalidHeaderFields": True}),
        resource(TYPE, {"loadBalancerType": "network"}),
    ],
    failing=[
        put("dropInvalidHeaderFields", False),
        drop("dropInvalidHeaderFields"),
        resource(TYPE, {}),
    ],
    unknown=["loadBalancerType", "dropInvalidHeaderFields"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_load_balancers_drop_invalid_headers(case: Case) -> None:
    case.check()
