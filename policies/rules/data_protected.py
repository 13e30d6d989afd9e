"""``data-protected``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from policies.reading.buckets import BUCKETS
from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Protection(RuleConfig):
    """``protect``: of a stack that may be destroyed with its data it is false."""

    protect: bool = True


KEPT: Mapping[str, Mapping[str, bool]] = {
    "aws:dynamodb/table:Table": {"deletionProtectionEnabled": True},
    "aws:eks/cluster:Cluster": {},
    "aws:kms/key:Key": {},
    "aws:rds/cluster:Cluster": {"deletionProtection": True, "skipFinalSnapshot": False},
    "aws:rds/instance:Instance": {"deletionProtection": True, "skipFinalSnapshot": False},
    **{type_: {"forceDestroy": False} for type_ in BUCKETS},
    "aws:secretsmanager/secret:Secret": {},
    "azure-native:containerregistry:Registry": {},
    "azure-native:keyvault:Vault": {"properties.enablePurgeProtection": True},
    "azure-native:operationalinsights:Workspace": {},
    "azure-native:resources:ResourceGroup": {},
}
"""What Pulumi itself must not delete → what AWS or Azure must be told besides; both take false where nothing is."""

MADE_AGAIN: Mapping[str, Mapping[str, bool]] = {"aws:ecr/repository:Repository": {"forceDelete": False}}
"""Images can be built anew, so that a repository may go once it is empty."""


@rule(
    "data-protected",
    *KEPT,
    *MADE_AGAIN,
    group="operations",
    severity=Severity.CRITICAL,
    remedy="protect: true in Pulumi.<stack>.yaml; opts=ResourceOptions(protect=args.account.protect)",
    source="https://www.pulumi.com/docs/iac/concepts/options/protect/",
    config=Protection,
)
def data_protected(resource: Resource, config: Protection) -> Iterable[Violation]:
    """What holds data, or the keys to it, can't be deleted by mistake."""
    if not config.protect:
        return
    if resource.type in KEPT and not resource.protect:
        yield resource.violation("", "the resource option protect", "none")
    for path, expected in {**KEPT, **MADE_AGAIN}[resource.type].items():
        if (got := resource.get(path, False)) is not expected:
            yield resource.violation(path, str(expected).lower(), str(got).lower())
