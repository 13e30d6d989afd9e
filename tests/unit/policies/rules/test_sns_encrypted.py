"""``sns-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.sns_encrypted import sns_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

CASES = Cases(
    sns_encrypted,
    passing=[resource("aws:sns/topic:Topic", {"kmsMasterKeyId": KEY})],
    failing=[drop("kmsMasterKeyId"), put("kmsMasterKeyId", ""), put("kmsMasterKeyId", "alias/aws/sns")],
    unknown=["kmsMasterKeyId"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_sns_encrypted(case: Case) -> None:
    case.check()
