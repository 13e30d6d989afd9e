"""``ecr-encrypted-with-kms``."""

from __future__ import annotations

import pytest

from policies.rules.ecr_encrypted_with_kms import ecr_encrypted_with_kms
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

FIRST = "encryptionConfigurations[0]"

CASES = Cases(
    ecr_encrypted_with_kms,
    passing=[
        resource(
            "aws:ecr/repository:Repository", {"encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": KEY}]}
        )
    ],
    failing=[
        put(f"{FIRST}.encryptionType", "AES256"),
        drop(f"{FIRST}.kmsKey"),
        put(f"{FIRST}.kmsKey", "alias/aws/ecr"),
        drop("encryptionConfigurations"),
    ],
    unknown=["encryptionConfigurations", f"{FIRST}.kmsKey"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_ecr_encrypted_with_kms(case: Case) -> None:
    case.check()
