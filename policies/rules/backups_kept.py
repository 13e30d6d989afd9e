"""``backups-kept``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.reading.amounts import whole
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

TABLE = "aws:dynamodb/table:Table"


class Backups(RuleConfig):
    days: int = 7


@rule(
    "backups-kept",
    TABLE,
    "aws:rds/cluster:Cluster",
    "aws:rds/instance:Instance",
    group="operations",
    severity=Severity.HIGH,
    remedy="tracking.backup_days and online_store.recovery of Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html",
    config=Backups,
)
def backups_kept(store: Resource, config: Backups) -> Iterable[Violation]:
    """A database can be set back to what it was some days ago."""
    if store.type == TABLE:
        yield from store.expect("pointInTimeRecovery.enabled", True)
    elif store.get("replicateSourceDb") is None:
        # A copy of another is backed up there.
        yield from store.require(
            "backupRetentionPeriod", f"{config.days} days or more", lambda days: (whole(days) or 0) >= config.days
        )
