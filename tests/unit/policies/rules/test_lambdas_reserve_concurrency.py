"""``lambdas-reserve-concurrency``."""

from __future__ import annotations

import pytest

from policies.rules.lambdas_reserve_concurrency import lambdas_reserve_concurrency
from policies.testing import Case, Cases, drop, put, resource

FUNCTION = resource("aws:lambda/function:Function", {"reservedConcurrentExecutions": 50.0})
COUNT = "reservedConcurrentExecutions"

CASES = [
    Cases(
        lambdas_reserve_concurrency,
        passing=[FUNCTION, resource(FUNCTION.type, {COUNT: 0})],
        failing=[put(COUNT, 101), put(COUNT, -1), drop(COUNT)],
        unknown=[COUNT],
    ),
    Cases(
        lambdas_reserve_concurrency,
        passing=[resource(FUNCTION.type, {COUNT: 10})],
        failing=[FUNCTION],
        config={"most": 10},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_lambdas_reserve_concurrency(case: Case) -> None:
    case.check()
