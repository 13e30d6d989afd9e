"""The container registry. Whoever pushes or pulls does it by a role: it has no password."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.logs import send
from infra.azure.place import Place


@dataclass(frozen=True)
class RegistryArgs:
    place: Place
    group: pulumi.Input[str]
    workspace_id: pulumi.Input[str]


class Registry(pulumi.ComponentResource):
    id: pulumi.Output[str]
    server: pulumi.Output[str]
    """``NAME.azurecr.io``"""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:Registry", name, None, opts)
        registry = azure.containerregistry.Registry(
            name,
            registry_name=args.place.name("registry"),
            resource_group_name=args.group,
            location=args.place.location,
            # Premium adds private addresses and zones, which nothing here needs, at ten times the price of Basic.
            sku=azure.containerregistry.SkuArgs(name="Standard" if args.place.protect else "Basic"),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            opts=args.place.options(self, data=True),
        )
        self.id = registry.id
        self.server = registry.login_server
        send(name, registry.id, args.workspace_id, ("ContainerRegistryLoginEvents",), self)
        self.register_outputs({"server": self.server})
