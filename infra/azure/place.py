"""What a component needs to know of where on Azure it is built."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.names import Kind, name_of
from infra.naming import Naming


@dataclass(frozen=True)
class Place:
    """The subscription and location of a stack; ``protect``: what holds data survives a `pulumi destroy`."""

    subscription_id: str
    tenant_id: str
    location: str
    naming: Naming
    log_days: int
    protect: bool

    @classmethod
    def current(cls, naming: Naming, location: str, log_days: int, protect: bool) -> Place:
        client = azure.authorization.get_client_config()
        return cls(client.subscription_id, client.tenant_id, location, naming, log_days, protect)

    def name(self, kind: Kind, *parts: str) -> str:
        """See :func:`infra.azure.names.name_of`."""
        return name_of(kind, self.naming, self.subscription_id, *parts)

    def role(self, definition: str) -> str:
        """The id of one of Azure's built-in roles, from its GUID."""
        return f"/subscriptions/{self.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/{definition}"

    def options(self, parent: pulumi.Resource, *, data: bool = False) -> pulumi.ResourceOptions:
        """Of a component's child. ``data``: it holds some, so it is protected where the stack is."""
        return pulumi.ResourceOptions(parent=parent, protect=True if data and self.protect else None)
