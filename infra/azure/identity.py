"""Who the containers are."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.place import Place

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
KEY_VAULT_SECRETS_USER = "4633458b-17de-408a-874b-0445c86b69e6"
"""https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""


@dataclass(frozen=True)
class IdentityArgs:
    place: Place
    group: pulumi.Input[str]
    registry_id: pulumi.Input[str]
    vault_id: pulumi.Input[str]


class Identity(pulumi.ComponentResource):
    """One managed identity, with no more than two roles:

    - AcrPull on the registry: Container Apps and Container Instances pull their image with it.
    - Key Vault Secrets User on the vault: Container Apps reads the keys of callers with it.
    """

    id: pulumi.Output[str]
    """Known when it has its roles: an app that came before them could pull nothing."""

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:Identity", name, None, opts)
        identity = azure.managedidentity.UserAssignedIdentity(
            name,
            resource_name_=args.place.name("identity"),
            resource_group_name=args.group,
            location=args.place.location,
            opts=args.place.options(self),
        )
        roles = [
            azure.authorization.RoleAssignment(
                f"{name}-{label}",
                scope=scope,
                role_definition_id=args.place.role(definition),
                principal_id=identity.principal_id,
                # Azure would look for a principal that is too new to be found.
                principal_type=azure.authorization.PrincipalType.SERVICE_PRINCIPAL,
                opts=args.place.options(self),
            )
            for label, scope, definition in (
                ("pull", args.registry_id, ACR_PULL),
                ("read-secrets", args.vault_id, KEY_VAULT_SECRETS_USER),
            )
        ]
        self.id = pulumi.Output.all(identity.id, *(role.id for role in roles)).apply(lambda ids: str(ids[0]))
        self.register_outputs({"id": self.id})
