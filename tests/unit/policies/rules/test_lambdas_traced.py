"""``lambdas-traced``."""

from __future__ import annotations

import pytest

from policies.rules.lambdas_traced import lambdas_traced
from policies.testing import Case, Cases, drop, put, resource

CASES = Cases(
    lambdas_traced,
    passing=[resource("aws:lambda/function:Function", {"tracingConfig": {"mode": "Active"}})],
    failing=[put("tracingConfig.mode", "PassThrough"), drop("tracingConfig")],
    unknown=["tracingConfig.mode"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_lambdas_traced(case: Case) -> None:
    case.check()
