"""``rds-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.rds_encrypted import rds_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

ENCRYPTED = {"storageEncrypted": True, "kmsKeyId": KEY}

CASES = Cases(
    rds_encrypted,
    passing=[
        resource(
            "aws:rds/instance:Instance",
            {**ENCRYPTED, "performanceInsightsEnabled": True, "performanceInsightsKmsKeyId": KEY},
        ),
        resource("aws:rds/cluster:Cluster", ENCRYPTED),
    ],
    failing=[
        put("storageEncrypted", False),
        drop("storageEncrypted"),
        drop("kmsKeyId"),
        put("kmsKeyId", "alias/aws/rds"),
        drop("performanceInsightsKmsKeyId"),
    ],
    unknown=["storageEncrypted", "kmsKeyId", "performanceInsightsEnabled", "performanceInsightsKmsKeyId"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_rds_encrypted(case: Case) -> None:
    case.check()
