"""``log-groups-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.log_groups_encrypted import log_groups_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

CASES = Cases(
    log_groups_encrypted,
    passing=[resource("aws:cloudwatch/logGroup:LogGroup", {"kmsKeyId": KEY})],
    failing=[drop("kmsKeyId"), put("kmsKeyId", ""), put("kmsKeyId", "alias/aws/logs")],
    unknown=["kmsKeyId"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_log_groups_encrypted(case: Case) -> None:
    case.check()
