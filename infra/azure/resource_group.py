"""The folder of everything that a stack has on Azure."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.place import Place


@dataclass(frozen=True)
class ResourceGroupArgs:
    place: Place


class ResourceGroup(pulumi.ComponentResource):
    name: pulumi.Output[str]

    def __init__(self, name: str, args: ResourceGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:ResourceGroup", name, None, opts)
        group = azure.resources.ResourceGroup(
            name,
            resource_group_name=args.place.name("resource_group"),
            location=args.place.location,
            opts=args.place.options(self, data=True),
        )
        self.name = group.name
        self.register_outputs({"name": self.name})
