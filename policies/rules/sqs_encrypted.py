"""``sqs-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "sqs-encrypted",
    "aws:sqs/queue:Queue",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy="kms_master_key_id=key.arn",
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html",
)
def sqs_encrypted(queue: Resource) -> Iterator[Violation]:
    """Queues are encrypted with a KMS key of the account's own."""
    yield from requires_key(queue, "kmsMasterKeyId")
