"""A single job of the same image on Container Instances: by default, the check of the models that would be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_azure_native as azure

from infra.azure.place import Place
from serve.settings import TEXT_VARIABLE

CHECK = ("python", "-m", "serve", "check")


@dataclass(frozen=True)
class ContainerInstanceArgs:
    """``cpus``, ``memory_gib``: of the one container. ``serving``: as of the app."""

    place: Place
    group: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    identity_id: pulumi.Input[str]
    registry_server: pulumi.Input[str]
    image: pulumi.Input[str]
    serving: str
    command: Sequence[str] = CHECK
    cpus: float = 1.0
    memory_gib: float = 2.0
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class ContainerInstance(pulumi.ComponentResource):
    """Runs once and ends; it has an address in the network alone and listens to nothing.

    `az container start` runs it again. Its output is in `az container logs`: to send it to Log Analytics, Container
    Instances would need the workspace's key.
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: ContainerInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:ContainerInstance", name, None, opts)
        instance = azure.containerinstance
        variables = {**args.environment, TEXT_VARIABLE: args.serving}
        group = instance.ContainerGroup(
            name,
            container_group_name=args.place.name("container_group", "job"),
            resource_group_name=args.group,
            location=args.place.location,
            os_type=instance.OperatingSystemTypes.LINUX,
            sku=instance.ContainerGroupSku.STANDARD,
            restart_policy=instance.ContainerGroupRestartPolicy.NEVER,
            identity=instance.ContainerGroupIdentityArgs(
                type=instance.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[args.identity_id]
            ),
            image_registry_credentials=[
                instance.ImageRegistryCredentialArgs(server=args.registry_server, identity=args.identity_id)
            ],
            subnet_ids=[instance.ContainerGroupSubnetIdArgs(id=args.subnet_id)],
            containers=[
                instance.ContainerArgs(
                    name="job",
                    image=args.image,
                    command=list(args.command),
                    resources=instance.ResourceRequirementsArgs(
                        requests=instance.ResourceRequestsArgs(cpu=args.cpus, memory_in_gb=args.memory_gib)
                    ),
                    environment_variables=[
                        instance.EnvironmentVariableArgs(name=variable, value=value)
                        for variable, value in sorted(variables.items())
                    ],
                )
            ],
            opts=args.place.options(self),
        )
        self.name = group.name
        self.register_outputs({"name": self.name})
