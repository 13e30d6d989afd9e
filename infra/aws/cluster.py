"""The ECS cluster that all services of a stack share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.logs import log_group

FARGATE = ("FARGATE", "FARGATE_SPOT")


@dataclass(frozen=True)
class ClusterArgs:
    """``instances``: somebody adds some, and lists their capacity provider with Fargate's own."""

    account: Account
    logs_key_arn: pulumi.Input[str]
    instances: bool = False


class Cluster(pulumi.ComponentResource):
    """A cluster for Fargate, with CloudWatch's container metrics.

    Services name their launch type. AWS has a single list of capacity providers a cluster, and two would undo each
    other: whoever adds instances makes it (:func:`list_capacity`), and nobody else but the cluster itself.
    """

    arn: pulumi.Output[str]
    name: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Cluster", name, None, opts)
        naming = args.account.naming
        # No service lets anybody in by `ecs execute-command`; where one is made to, what is typed is kept.
        sessions = log_group(f"{name}-sessions", naming.path("sessions"), args.account, args.logs_key_arn, self)
        cluster = aws.ecs.Cluster(
            name,
            name=naming.prefix,
            settings=[aws.ecs.ClusterSettingArgs(name="containerInsights", value="enabled")],
            configuration=aws.ecs.ClusterConfigurationArgs(
                execute_command_configuration=aws.ecs.ClusterConfigurationExecuteCommandConfigurationArgs(
                    kms_key_id=args.logs_key_arn,
                    logging="OVERRIDE",
                    log_configuration=aws.ecs.ClusterConfigurationExecuteCommandConfigurationLogConfigurationArgs(
                        cloud_watch_encryption_enabled=True, cloud_watch_log_group_name=sessions.name
                    ),
                )
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = cluster.arn
        self.name = cluster.name
        if not args.instances:
            list_capacity(name, self.name, [], self)
        self.register_outputs({"arn": self.arn, "name": self.name})


def list_capacity(
    name: str, cluster: pulumi.Input[str], instances: Sequence[pulumi.Input[str]], parent: pulumi.Resource
) -> aws.ecs.ClusterCapacityProviders:
    """Once for a cluster: AWS has one list of capacity providers for it, and a second would undo the first.

    ``instances``: names of the providers beside Fargate's own, which are in the list since it replaces what is there.
    """
    return aws.ecs.ClusterCapacityProviders(
        name,
        cluster_name=cluster,
        capacity_providers=[*FARGATE, *instances],
        default_capacity_provider_strategies=[
            aws.ecs.ClusterCapacityProvidersDefaultCapacityProviderStrategyArgs(capacity_provider=FARGATE[0], weight=1)
        ],
        opts=pulumi.ResourceOptions(parent=parent),
    )
