"""``sqs-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.sqs_encrypted import sqs_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

CASES = Cases(
    sqs_encrypted,
    passing=[resource("aws:sqs/queue:Queue", {"kmsMasterKeyId": KEY})],
    failing=[drop("kmsMasterKeyId"), put("kmsMasterKeyId", ""), put("kmsMasterKeyId", "alias/aws/sqs")],
    unknown=["kmsMasterKeyId"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_sqs_encrypted(case: Case) -> None:
    case.check()
