"""The vault of the keys of callers: by role alone, from the stack's network alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.logs import send
from infra.azure.place import Place

NO_KEYS = '{"version":1,"keys":[]}'
"""The document of ``serve.access.documents`` before the first key."""

HELD_DAYS = 90
HELD_DAYS_UNPROTECTED = 7
"""The shortest that Azure takes. The vault's name is taken for as long after a `pulumi destroy`."""


@dataclass(frozen=True)
class VaultArgs:
    """``subnet_ids``: whose containers read it. ``operators``: networks from which keys are written, as CIDRs."""

    place: Place
    group: pulumi.Input[str]
    workspace_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    operators: Sequence[str] = ()


class Vault(pulumi.ComponentResource):
    """With one secret: the document of API keys, empty, which `az keyvault secret set` replaces."""

    id: pulumi.Output[str]
    api_keys_uri: pulumi.Output[str]
    """Without a version, so that whoever reads it gets the newest."""

    def __init__(self, name: str, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:Vault", name, None, opts)
        place = args.place
        vault = azure.keyvault.Vault(
            name,
            vault_name=place.name("vault"),
            resource_group_name=args.group,
            location=place.location,
            properties=azure.keyvault.VaultPropertiesArgs(
                tenant_id=place.tenant_id,
                sku=azure.keyvault.SkuArgs(family="A", name=azure.keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=HELD_DAYS if place.protect else HELD_DAYS_UNPROTECTED,
                enable_purge_protection=True,
                enabled_for_deployment=False,
                enabled_for_disk_encryption=False,
                enabled_for_template_deployment=False,
                # "Disabled" would leave private endpoints alone, which cost by the hour. The rules refuse all others.
                public_network_access="Enabled",
                network_acls=azure.keyvault.NetworkRuleSetArgs(
                    default_action=azure.keyvault.NetworkRuleAction.DENY,
                    bypass=azure.keyvault.NetworkRuleBypassOptions.NONE,
                    virtual_network_rules=[azure.keyvault.VirtualNetworkRuleArgs(id=id_) for id_ in args.subnet_ids],
                    ip_rules=[azure.keyvault.IPRuleArgs(value=cidr) for cidr in args.operators],
                ),
            ),
            opts=place.options(self, data=True),
        )
        # Azure's resource manager writes it, so the network from where `pulumi up` runs needs no access.
        keys = azure.keyvault.Secret(
            f"{name}-api-keys",
            vault_name=vault.name,
            resource_group_name=args.group,
            secret_name="api-keys",  # noqa: S106
            properties=azure.keyvault.SecretPropertiesArgs(value=NO_KEYS, content_type="application/json"),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["properties.value"]),
        )
        self.id = vault.id
        self.api_keys_uri = pulumi.Output.concat("https://", vault.name, ".vault.azure.net/secrets/", keys.name)
        send(name, vault.id, args.workspace_id, ("AuditEvent",), self)
        self.register_outputs({"id": self.id, "api_keys_uri": self.api_keys_uri})
