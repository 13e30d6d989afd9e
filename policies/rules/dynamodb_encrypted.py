"""``dynamodb-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "dynamodb-encrypted",
    "aws:dynamodb/table:Table",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy="server_side_encryption=TableServerSideEncryptionArgs(enabled=True, kms_key_arn=key.arn)",
    source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/EncryptionAtRest.html",
)
def dynamodb_encrypted(table: Resource) -> Iterator[Violation]:
    """Tables and their replicas are encrypted with a KMS key of the account's own."""
    yield from table.expect("serverSideEncryption.enabled", True)
    yield from requires_key(table, "serverSideEncryption.kmsKeyArn")
    for replica in table.each("replicas"):
        yield from requires_key(replica, "kmsKeyArn")
