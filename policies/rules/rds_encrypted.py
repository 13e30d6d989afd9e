"""``rds-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "rds-encrypted",
    "aws:rds/instance:Instance",
    "aws:rds/cluster:Cluster",
    group="encryption at rest",
    severity=Severity.HIGH,
    remedy="storage_encrypted=True, kms_key_id=key.arn, performance_insights_kms_key_id=key.arn",
    source="https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.html",
)
def rds_encrypted(database: Resource) -> Iterator[Violation]:
    """A database, and what its Performance Insights keep, are encrypted with a KMS key of the account's own."""
    yield from database.expect("storageEncrypted", True)
    yield from requires_key(database, "kmsKeyId")
    if database.get("performanceInsightsEnabled"):
        yield from requires_key(database, "performanceInsightsKmsKeyId")
