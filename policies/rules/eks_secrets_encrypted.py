"""``eks-secrets-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "eks-secrets-encrypted",
    "aws:eks/cluster:Cluster",
    group="encryption at rest",
    severity=Severity.HIGH,
    remedy='encryption_config=ClusterEncryptionConfigArgs(resources=["secrets"], '
    "provider=ClusterEncryptionConfigProviderArgs(key_arn=key.arn))",
    source="https://docs.aws.amazon.com/eks/latest/userguide/enable-kms.html",
)
def eks_secrets_encrypted(cluster: Resource) -> Iterator[Violation]:
    """A cluster's secrets are encrypted with a KMS key of the account's own."""
    kinds = [each.get() for each in cluster.each("encryptionConfig.resources")]
    if "secrets" not in kinds:
        yield cluster.violation("encryptionConfig.resources", "secrets among them", kinds)
    yield from requires_key(cluster, "encryptionConfig.provider.keyArn")
