"""``log-groups-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "log-groups-encrypted",
    "aws:cloudwatch/logGroup:LogGroup",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy="kms_key_id=key.arn",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
)
def log_groups_encrypted(group: Resource) -> Iterator[Violation]:
    """Logs are encrypted with a KMS key of the account's own."""
    yield from requires_key(group, "kmsKeyId")
