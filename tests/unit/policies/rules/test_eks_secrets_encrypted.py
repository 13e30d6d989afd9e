"""``eks-secrets-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.eks_secrets_encrypted import eks_secrets_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

CASES = Cases(
    eks_secrets_encrypted,
    passing=[
        resource(
            "aws:eks/cluster:Cluster", {"encryptionConfig": {"resources": ["secrets"], "provider": {"keyArn": KEY}}}
        )
    ],
    failing=[
        drop("encryptionConfig"),
        put("encryptionConfig.resources", []),
        drop("encryptionConfig.provider"),
        put("encryptionConfig.provider.keyArn", ""),
    ],
    unknown=["encryptionConfig", "encryptionConfig.resources", "encryptionConfig.provider.keyArn"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_eks_secrets_encrypted(case: Case) -> None:
    case.check()
