"""Container definitions of ECS, from fields that can't be misspelt: AWS's provider takes them as one JSON text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, role, trust
from infra.aws.logs import writes
from infra.settings import FargateSize


@dataclass(frozen=True)
class HealthCheck:
    """``command``: run in the container, no shell; exit code 0 is healthy. Seconds."""

    command: Sequence[str]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 60

    def document(self) -> dict[str, Any]:
        return {
            "command": ["CMD", *self.command],
            "interval": self.interval,
            "timeout": self.timeout,
            "retries": self.retries,
            "startPeriod": self.start_period,
        }


@dataclass(frozen=True)
class Container:
    """One container of a task.

    ``entry_point`` and ``command``: the image's own where they are empty.
    ``environment`` is readable to whoever may describe the task, so no secret belongs there. ``secrets``: variable →
    ARN of a secret (``ARN:key::`` for one key of a JSON secret), which the execution role reads at the start.
    ``port``: 0 for none. ``cpu`` in CPU units, ``memory`` and ``shared_memory`` in MiB; the last is not to be had on
    Fargate. ``writable``: folders that stay writable with a read-only root; they belong to root unless the image
    declares them with ``VOLUME`` and its own user. ``user``: ``uid:gid``.
    """

    name: str
    image: pulumi.Input[str]
    log_group: pulumi.Input[str]
    region: str
    entry_point: Sequence[str] = ()
    command: Sequence[pulumi.Input[str]] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    port: int = 0
    health: HealthCheck | None = None
    cpu: int | None = None
    memory: int | None = None
    shared_memory: int | None = None
    gpus: int = 0
    user: str = "10001:10001"
    readonly_root: bool = True
    writable: Sequence[str] = ("/tmp",)  # noqa: S108
    stop_seconds: int = 30

    def document(self) -> dict[str, Any]:
        """As in https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html."""
        linux: dict[str, Any] = {"initProcessEnabled": True}
        if self.shared_memory is not None:
            linux["sharedMemorySize"] = self.shared_memory
        found: dict[str, Any] = {
            "name": self.name,
            "image": self.image,
            "essential": True,
            "user": self.user,
            "readonlyRootFilesystem": self.readonly_root,
            "linuxParameters": linux,
            # Sorted, so that the same settings make the same text and no new revision.
            "environment": [{"name": name, "value": value} for name, value in sorted(self.environment.items())],
            "secrets": [{"name": name, "valueFrom": arn} for name, arn in sorted(self.secrets.items())],
            "mountPoints": [
                {"sourceVolume": volume_name(path), "containerPath": path, "readOnly": False} for path in self.writable
            ],
            "stopTimeout": self.stop_seconds,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group,
                    "awslogs-region": self.region,
                    "awslogs-stream-prefix": self.name,
                    # A full log must not stop the answers.
                    "mode": "non-blocking",
                    "max-buffer-size": "25m",
                },
            },
        }
        if self.entry_point:
            found["entryPoint"] = list(self.entry_point)
        if self.command:
            found["command"] = list(self.command)
        if self.port:
            found["portMappings"] = [{"containerPort": self.port, "hostPort": self.port, "protocol": "tcp"}]
        if self.health is not None:
            found["healthCheck"] = self.health.document()
        if self.cpu is not None:
            found["cpu"] = self.cpu
        if self.memory is not None:
            found["memory"] = self.memory
        if self.gpus:
            found["resourceRequirements"] = [{"type": "GPU", "value": str(self.gpus)}]
        return found


def volume_name(path: str) -> str:
    """``/var/lib/ray`` → ``var-lib-ray``."""
    return path.strip("/").replace("/", "-").replace(".", "_")


def definitions(containers: Sequence[Container]) -> pulumi.Output[str]:
    """The JSON for ``TaskDefinition.container_definitions``."""
    return pulumi.Output.json_dumps([container.document() for container in containers])


def volumes(containers: Sequence[Container]) -> list[aws.ecs.TaskDefinitionVolumeArgs]:
    """The task's own empty volumes for what its containers may write: they end with it."""
    paths = sorted({path for container in containers for path in container.writable})
    return [aws.ecs.TaskDefinitionVolumeArgs(name=volume_name(path)) for path in paths]


def task_definition(
    name: str,
    family: str,
    size: FargateSize | None,
    containers: Sequence[Container],
    execution_role: pulumi.Input[str],
    task_role: pulumi.Input[str],
    parent: pulumi.Resource,
) -> aws.ecs.TaskDefinition:
    """``size``: of Fargate; ``None`` for an instance, where the containers say what they take. Roles: their ARNs."""
    platform = aws.ecs.TaskDefinitionRuntimePlatformArgs(operating_system_family="LINUX", cpu_architecture="X86_64")
    return aws.ecs.TaskDefinition(
        name,
        family=family,
        cpu=str(size.cpu) if size else None,
        memory=str(size.memory) if size else None,
        network_mode="awsvpc",
        requires_compatibilities=["FARGATE" if size else "EC2"],
        runtime_platform=platform if size else None,
        execution_role_arn=execution_role,
        task_role_arn=task_role,
        container_definitions=definitions(containers),
        volumes=volumes(containers),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def task_role(
    name: str, physical_name: str, account: Account, statements: Sequence[Statement], parent: pulumi.Resource
) -> aws.iam.Role:
    """A role that ECS takes on: to start tasks, or for the containers in them."""
    return role(name, physical_name, trust("ecs-tasks.amazonaws.com", account.id), statements, parent)


def start_statements(
    repository_arns: Sequence[pulumi.Input[str]],
    log_group_arns: Sequence[pulumi.Input[str]],
    secret_arns: Sequence[pulumi.Input[str]] = (),
    secrets_key_arn: pulumi.Input[str] | None = None,
) -> list[Statement]:
    """For an execution role: ECS reads the images and the secrets with it, and writes the logs."""
    found = [
        # The login is to the registry of the account, which has no ARN.
        Statement(("ecr:GetAuthorizationToken",), ["*"]),
        Statement(
            ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"), repository_arns
        ),
        *(writes(arn) for arn in log_group_arns),
    ]
    if secret_arns:
        found.append(Statement(("secretsmanager:GetSecretValue",), secret_arns))
    if secrets_key_arn is not None:
        found.append(Statement(("kms:Decrypt",), [secrets_key_arn]))
    return found
