"""``database-password-managed``."""

from __future__ import annotations

import pytest

from policies.rules.database_password_managed import database_password_managed
from policies.testing import Case, Cases, drop, put, resource

INSTANCE = "aws:rds/instance:Instance"

CASES = [
    Cases(
        database_password_managed,
        passing=[
            resource(INSTANCE, {"username": "mlflow", "manageMasterUserPassword": True}),
            resource("aws:rds/cluster:Cluster", {"manageMasterUserPassword": True}),
            resource(INSTANCE, {"replicateSourceDb": "first"}),
        ],
        failing=[
            put("manageMasterUserPassword", False),
            drop("manageMasterUserPassword"),
            put("password", "hunter2"),
            put("passwordWo", "hunter2"),
            resource("aws:rds/cluster:Cluster", {"manageMasterUserPassword": True, "masterPassword": "hunter2"}),
        ],
        unknown=["manageMasterUserPassword"],
        fixed=True,
    ),
    Cases(
        database_password_managed,
        passing=[resource(INSTANCE, {"replicateSourceDb": "first", "username": "mlflow"})],
        failing=[put("password", "hunter2"), put("replicateSourceDb", "")],
        unknown=["replicateSourceDb"],
        fixed=True,
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_database_password_managed(case: Case) -> None:
    case.check()
