"""``budget-given``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.budget_given import budget_given
from policies.testing import Case, Cases, drop, gone, put, resource, stack

BUDGET = resource(
    "aws:budgets/budget:Budget",
    {"notifications": [{"threshold": 80, "subscriberEmailAddresses": ["ml@example.com"]}]},
    "budget",
)
BUCKET = resource("aws:s3/bucket:Bucket", {}, "data")

CASES = Cases(
    budget_given,
    passing=[
        stack(BUDGET, BUCKET),
        stack(resource("aws:budgets/budget:Budget", {"notifications": [{"subscriberSnsTopicArns": [UNKNOWN]}]})),
        stack(resource("azure-native:resources:ResourceGroup", {})),
        stack(),
    ],
    failing=[
        gone("budget"),
        put("notifications", []),
        drop("notifications"),
        put("notifications[0].subscriberEmailAddresses", []),
        drop("notifications[0].subscriberEmailAddresses"),
    ],
    unknown=[put("notifications", UNKNOWN), put("notifications[0].subscriberEmailAddresses", UNKNOWN)],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_budget_given(case: Case) -> None:
    case.check()
