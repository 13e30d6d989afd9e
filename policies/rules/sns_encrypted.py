"""``sns-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "sns-encrypted",
    "aws:sns/topic:Topic",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy="kms_master_key_id=key.arn",
    source="https://docs.aws.amazon.com/sns/latest/dg/sns-server-side-encryption.html",
)
def sns_encrypted(topic: Resource) -> Iterator[Violation]:
    """Topics are encrypted with a KMS key of the account's own."""
    yield from requires_key(topic, "kmsMasterKeyId")
