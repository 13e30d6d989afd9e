"""``database-password-managed``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

PASSWORDS = ("password", "passwordWo", "masterPassword", "masterPasswordWo")
COPIES = ("replicateSourceDb", "replicationSourceIdentifier")
"""A copy has the users of what it is a copy of."""


def _manage(inputs: MutableMapping[str, Any]) -> None:
    if not any(inputs.get(copy) for copy in COPIES):
        inputs["manageMasterUserPassword"] = True
    for key in (*PASSWORDS, "passwordWoVersion", "masterPasswordWoVersion"):
        inputs.pop(key, None)


@rule(
    "database-password-managed",
    "aws:rds/cluster:Cluster",
    "aws:rds/instance:Instance",
    group="operations",
    severity=Severity.HIGH,
    remedy="manage_master_user_password=True, and no password: RDS makes it, keeps it in Secrets Manager, rotates it",
    source="https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html",
    fix=_manage,
)
def database_password_managed(database: Resource) -> Iterable[Violation]:
    """The password of a database is made and kept by RDS, and never passes through the program."""
    for key in PASSWORDS:
        # Whether it is known doesn't matter: it may not be there.
        if database.at(key).value is not None:
            yield database.violation(key, "no password", "one")
    if not any(database.get(copy) for copy in COPIES):
        yield from database.expect("manageMasterUserPassword", True)
