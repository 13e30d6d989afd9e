"""``azure-vault-not-open``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.networks import is_internet
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "azure-vault-not-open",
    "azure-native:keyvault:Vault",
    group="public access",
    severity=Severity.HIGH,
    remedy="VaultPropertiesArgs(enable_rbac_authorization=True, enable_purge_protection=True, "
    'network_acls=NetworkRuleSetArgs(default_action="Deny", ...))',
    source="https://learn.microsoft.com/azure/key-vault/general/network-security",
)
def azure_vault_not_open(vault: Resource) -> Iterator[Violation]:
    """A vault refuses networks that it doesn't name, knows callers by their roles, and can't be emptied at once."""
    properties = vault.at("properties")
    yield from properties.expect("enableRbacAuthorization", True)
    yield from properties.expect("enablePurgeProtection", True)
    # Nothing said is true.
    yield from properties.expect("enableSoftDelete", True, None)
    if str(properties.get("publicNetworkAccess")).lower() == "disabled":
        return
    yield from properties.expect("networkAcls.defaultAction", "Deny")
    for each in properties.each("networkAcls.ipRules"):
        yield from each.require("value", "a network of ours", lambda value: not is_internet(value))
