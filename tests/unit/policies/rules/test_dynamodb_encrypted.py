"""``dynamodb-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.dynamodb_encrypted import dynamodb_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

ENCRYPTED = {"serverSideEncryption": {"enabled": True, "kmsKeyArn": KEY}}
REPLICAS = {"replicas": [{"regionName": "eu-west-1", "kmsKeyArn": KEY}]}

CASES = Cases(
    dynamodb_encrypted,
    passing=[
        resource("aws:dynamodb/table:Table", {**ENCRYPTED, **REPLICAS}),
        resource("aws:dynamodb/table:Table", ENCRYPTED),
    ],
    failing=[
        drop("serverSideEncryption"),
        put("serverSideEncryption.enabled", False),
        drop("serverSideEncryption.kmsKeyArn"),
        drop("replicas[0].kmsKeyArn"),
    ],
    unknown=["serverSideEncryption.enabled", "serverSideEncryption.kmsKeyArn", "replicas"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_dynamodb_encrypted(case: Case) -> None:
    case.check()
