"""``ecr-encrypted-with-kms``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "ecr-encrypted-with-kms",
    "aws:ecr/repository:Repository",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy='encryption_configurations=[RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=key.arn)]',
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html",
)
def ecr_encrypted_with_kms(repository: Resource) -> Iterator[Violation]:
    """Images are encrypted with a KMS key of the account's own."""
    yield from repository.expect("encryptionConfigurations[0].encryptionType", "KMS", "KMS_DSSE")
    yield from requires_key(repository, "encryptionConfigurations[0].kmsKey")
