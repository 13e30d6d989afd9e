"""``backups-kept``."""

from __future__ import annotations

import pytest

from policies.rules.backups_kept import backups_kept
from policies.testing import Case, Cases, drop, put, resource

CASES = [
    Cases(
        backups_kept,
        passing=[
            resource("aws:rds/instance:Instance", {"backupRetentionPeriod": 7.0}),
            resource("aws:rds/cluster:Cluster", {"backupRetentionPeriod": 35}),
            resource("aws:rds/instance:Instance", {"replicateSourceDb": "tracking"}),
        ],
        failing=[put("backupRetentionPeriod", 6), put("backupRetentionPeriod", 0), drop("backupRetentionPeriod")],
        unknown=["backupRetentionPeriod"],
    ),
    Cases(
        backups_kept,
        passing=[resource("aws:dynamodb/table:Table", {"pointInTimeRecovery": {"enabled": True}})],
        failing=[put("pointInTimeRecovery.enabled", False), drop("pointInTimeRecovery")],
        unknown=["pointInTimeRecovery.enabled"],
    ),
    Cases(
        backups_kept,
        passing=[resource("aws:rds/instance:Instance", {"backupRetentionPeriod": 1})],
        failing=[put("backupRetentionPeriod", 0)],
        config={"days": 1},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_backups_kept(case: Case) -> None:
    case.check()
