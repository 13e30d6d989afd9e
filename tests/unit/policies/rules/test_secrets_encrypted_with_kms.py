"""``secrets-encrypted-with-kms``."""

from __future__ import annotations

import pytest

from policies.rules.secrets_encrypted_with_kms import secrets_encrypted_with_kms
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

DATABASE = "aws:rds/instance:Instance"

CASES = [
    Cases(
        secrets_encrypted_with_kms,
        passing=[
            resource("aws:secretsmanager/secret:Secret", {"kmsKeyId": KEY, "replicas": [{"kmsKeyId": KEY}]}),
            resource("aws:secretsmanager/secret:Secret", {"kmsKeyId": KEY}),
        ],
        failing=[
            drop("kmsKeyId"),
            put("kmsKeyId", "alias/aws/secretsmanager"),
            drop("replicas[0].kmsKeyId"),
        ],
        unknown=["kmsKeyId", "replicas"],
    ),
    Cases(
        secrets_encrypted_with_kms,
        passing=[
            resource(DATABASE, {"manageMasterUserPassword": True, "masterUserSecretKmsKeyId": KEY}),
            resource(DATABASE, {}),
        ],
        failing=[drop("masterUserSecretKmsKeyId"), put("masterUserSecretKmsKeyId", "alias/aws/secretsmanager")],
        unknown=["manageMasterUserPassword", "masterUserSecretKmsKeyId"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_secrets_encrypted_with_kms(case: Case) -> None:
    case.check()
