"""``secrets-encrypted-with-kms``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule

TYPE = "aws:secretsmanager/secret:Secret"


@rule(
    "secrets-encrypted-with-kms",
    TYPE,
    "aws:rds/instance:Instance",
    "aws:rds/cluster:Cluster",
    group="encryption at rest",
    severity=Severity.HIGH,
    remedy="kms_key_id=key.arn; of a database that manages its own password, master_user_secret_kms_key_id=key.arn",
    source="https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html",
)
def secrets_encrypted_with_kms(given: Resource) -> Iterator[Violation]:
    """Secrets, and those that a database keeps of itself, are encrypted with a KMS key of the account's own."""
    if given.type == TYPE:
        yield from requires_key(given, "kmsKeyId")
        for replica in given.each("replicas"):
            yield from requires_key(replica, "kmsKeyId")
    elif given.get("manageMasterUserPassword"):
        yield from requires_key(given, "masterUserSecretKmsKeyId")
