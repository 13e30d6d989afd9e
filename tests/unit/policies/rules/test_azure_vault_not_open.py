"""``azure-vault-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.azure_vault_not_open import azure_vault_not_open
from policies.testing import Case, Cases, drop, put, resource

TYPE = "azure-native:keyvault:Vault"
GUARDED = {"enableRbacAuthorization": True, "enablePurgeProtection": True, "enableSoftDelete": True}

CASES = Cases(
    azure_vault_not_open,
    passing=[
        resource(
            TYPE,
            {"properties": {**GUARDED, "networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "192.0.2.1"}]}}},
        ),
        resource(TYPE, {"properties": {**GUARDED, "publicNetworkAccess": "Disabled"}}),
    ],
    failing=[
        put("properties.networkAcls.defaultAction", "Allow"),
        put("properties.networkAcls.ipRules[0].value", "0.0.0.0/0"),
        drop("properties.networkAcls"),
        drop("properties.enableRbacAuthorization"),
        drop("properties.enablePurgeProtection"),
        put("properties.enableSoftDelete", False),
        drop("properties"),
    ],
    unknown=[
        "properties",
        "properties.enablePurgeProtection",
        "properties.networkAcls",
        "properties.networkAcls.defaultAction",
        "properties.networkAcls.ipRules",
    ],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_azure_vault_not_open(case: Case) -> None:
    case.check()
