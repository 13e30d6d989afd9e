"""``lambdas-time-out``."""

from __future__ import annotations

import pytest

from policies.rules.lambdas_time_out import lambdas_time_out
from policies.testing import Case, Cases, put, resource

CASES = [
    Cases(
        lambdas_time_out,
        passing=[
            resource("aws:lambda/function:Function", {"timeout": 300.0}),
            resource("aws:lambda/function:Function", {}),
        ],
        failing=[put("timeout", 301), put("timeout", 0), put("timeout", "long")],
        unknown=["timeout"],
    ),
    Cases(
        lambdas_time_out,
        passing=[resource("aws:lambda/function:Function", {"timeout": 900})],
        failing=[put("timeout", 901)],
        config={"seconds": 900},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_lambdas_time_out(case: Case) -> None:
    case.check()
