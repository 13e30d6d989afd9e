"""``rds-not-public``."""

from __future__ import annotations

import pytest

from policies.rules.rds_not_public import rds_not_public
from policies.testing import Case, Cases, drop, put, resource

CASES = Cases(
    rds_not_public,
    passing=[
        resource("aws:rds/instance:Instance", {"publiclyAccessible": False}),
        resource("aws:rds/clusterInstance:ClusterInstance", {"publiclyAccessible": False}),
    ],
    failing=[put("publiclyAccessible", True), drop("publiclyAccessible")],
    unknown=["publiclyAccessible"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_rds_not_public(case: Case) -> None:
    case.check()
