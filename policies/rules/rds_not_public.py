"""``rds-not-public``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule


def _close(inputs: MutableMapping[str, Any]) -> None:
    inputs["publiclyAccessible"] = False


@rule(
    "rds-not-public",
    "aws:rds/instance:Instance",
    "aws:rds/clusterInstance:ClusterInstance",
    group="public access",
    severity=Severity.CRITICAL,
    remedy="publicly_accessible=False",
    source="https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html",
    fix=_close,
)
def rds_not_public(database: Resource) -> Iterable[Violation]:
    """A database has no public address."""
    # Nothing said may be either: for an instance of a cluster its subnets decide.
    return database.expect("publiclyAccessible", False)
