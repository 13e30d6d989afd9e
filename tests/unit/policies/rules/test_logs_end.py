"""``logs-end``."""

from __future__ import annotations

import pytest

from policies.rules.logs_end import logs_end
from policies.testing import Case, Cases, drop, put, resource

LOG = "aws:cloudwatch/logGroup:LogGroup"

CASES = [
    Cases(
        logs_end,
        passing=[
            resource(LOG, {"retentionInDays": 30.0}),
            resource(LOG, {"retentionInDays": 400}),
            resource("azure-native:operationalinsights:Workspace", {"retentionInDays": 30}),
        ],
        failing=[put("retentionInDays", 0), drop("retentionInDays")],
        unknown=["retentionInDays"],
        fixed=True,
    ),
    Cases(
        logs_end,
        passing=[resource(LOG, {"retentionInDays": 90})],
        failing=[put("retentionInDays", 120), put("retentionInDays", "ever")],
        config={"days_most": 90},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_logs_end(case: Case) -> None:
    case.check()
