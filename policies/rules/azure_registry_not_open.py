"""``azure-registry-not-open``."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule


def _close(inputs: MutableMapping[str, Any]) -> None:
    inputs["adminUserEnabled"] = False
    inputs["anonymousPullEnabled"] = False


@rule(
    "azure-registry-not-open",
    "azure-native:containerregistry:Registry",
    group="public access",
    severity=Severity.HIGH,
    remedy="admin_user_enabled=False, anonymous_pull_enabled=False",
    source="https://learn.microsoft.com/azure/container-registry/container-registry-authentication",
    fix=_close,
)
def azure_registry_not_open(registry: Resource) -> Iterator[Violation]:
    """A registry has no shared password, and gives images to nobody that it doesn't know."""
    # Nothing said is false.
    yield from registry.expect("adminUserEnabled", False, None)
    yield from registry.expect("anonymousPullEnabled", False, None)
