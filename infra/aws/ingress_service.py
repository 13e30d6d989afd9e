"""One ECS service of the ingress: its tasks, its target group, and between how many tasks it scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws import served
from infra.aws.account import Account
from infra.aws.containers import Container, HealthCheck, task_definition
from infra.aws.network import Network
from infra.aws.unfit import WRITABLE
from infra.settings import FargateSize
from serve.settings import Settings

CONTAINER = "ingress"

READY_COMMAND = (
    "python",
    "-c",
    "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=4)",
)

START_SECONDS = 180
"""Until a task has started Ray, fetched its models and verified them."""

LONGEST_START_PERIOD = 300
"""Of a container's health check. The service's own grace period is above it.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""

SECONDS_BETWEEN_LOOKS = 5
LOOKS = 2
"""Of the load balancer: ``ingress.drain_seconds`` is to be longer than these take."""

SCALE_OUT_SECONDS = 60
SCALE_IN_SECONDS = 300


@dataclass(frozen=True)
class GpuTask:
    """What a task takes of an instance: CPU units, MiB, devices. ``start_seconds``: of its engines, beside all else."""

    cpu: int
    memory: int
    shared_memory: int
    gpus: int
    capacity_provider_name: pulumi.Input[str]
    start_seconds: int = 0


@dataclass(frozen=True)
class Tasks:
    """Between how many tasks; ``requests`` are those that one should get in a minute."""

    least: int
    most: int
    requests: int


@dataclass(frozen=True)
class IngressServiceArgs:
    """``part``: of names. ``size``: of Fargate, or of a task on an instance with GPUs."""

    account: Account
    part: str
    network: Network
    cluster_arn: pulumi.Input[str]
    cluster_name: pulumi.Input[str]
    image: pulumi.Input[str]
    settings: Settings
    environment: Mapping[str, pulumi.Input[str]]
    size: FargateSize | GpuTask
    tasks: Tasks
    security_group_ids: Sequence[pulumi.Input[str]]
    execution_role_arn: pulumi.Input[str]
    task_role_arn: pulumi.Input[str]
    log_group: pulumi.Input[str]


class IngressService(pulumi.ComponentResource):
    """``start`` makes the service: its target group has to belong to a listener before."""

    target_group: aws.lb.TargetGroup
    service: aws.ecs.Service
    scalable: aws.appautoscaling.Target

    def __init__(self, name: str, args: IngressServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:IngressService", name, None, opts)
        self._name = name
        self._args = args
        self._part = args.account.naming.name(args.part)
        self._opts = pulumi.ResourceOptions(parent=self)
        self.target_group = self._target_group()
        self.register_outputs({"target_group": self.target_group.arn})

    def start(self, balancer: aws.lb.LoadBalancer, routes: Sequence[pulumi.Resource]) -> None:
        """``routes``: the listener, or its rules, that lead to the target group."""
        self.service = self._service(self._task(), routes)
        self.scalable = self._scalable()
        self._scale_by_requests(balancer)

    def _target_group(self) -> aws.lb.TargetGroup:
        http, drain = self._args.settings.http, self._args.settings.ingress.drain_seconds
        return aws.lb.TargetGroup(
            self._name,
            name=self._part,
            vpc_id=self._args.network.vpc_id,
            target_type="ip",
            port=http.port,
            protocol="HTTP",
            # ECS stops a task after this: what runs then has had its time.
            deregistration_delay=math.ceil(max(drain, http.request_timeout_seconds)),
            load_balancing_algorithm_type="least_outstanding_requests",
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path=served.READY,
                matcher="200",
                interval=SECONDS_BETWEEN_LOOKS,
                timeout=SECONDS_BETWEEN_LOOKS - 1,
                healthy_threshold=LOOKS,
                unhealthy_threshold=LOOKS,
            ),
            opts=self._opts,
        )

    @property
    def _start_seconds(self) -> int:
        size = self._args.size
        return START_SECONDS + (size.start_seconds if isinstance(size, GpuTask) else 0)

    def _container(self) -> Container:
        size = self._args.size
        on_instance = size if isinstance(size, GpuTask) else None
        return Container(
            name=CONTAINER,
            image=self._args.image,
            log_group=self._args.log_group,
            region=self._args.account.region,
            environment=self._args.environment,
            port=self._args.settings.http.port,
            health=HealthCheck(READY_COMMAND, interval=15, start_period=min(LONGEST_START_PERIOD, self._start_seconds)),
            cpu=on_instance.cpu if on_instance else None,
            memory=on_instance.memory if on_instance else None,
            # Fargate has 64 MiB and no more, so Ray keeps its object store below /tmp there.
            shared_memory=on_instance.shared_memory if on_instance else None,
            gpus=on_instance.gpus if on_instance else 0,
            writable=(WRITABLE,),
            stop_seconds=served.stop_seconds(self._args.settings),
        )

    def _task(self) -> aws.ecs.TaskDefinition:
        args = self._args
        size = args.size if isinstance(args.size, FargateSize) else None
        return task_definition(
            self._name,
            self._part,
            size,
            [self._container()],
            args.execution_role_arn,
            args.task_role_arn,
            self,
        )

    def _service(self, task: aws.ecs.TaskDefinition, routes: Sequence[pulumi.Resource]) -> aws.ecs.Service:
        size = self._args.size
        on_instance = size if isinstance(size, GpuTask) else None
        return aws.ecs.Service(
            self._name,
            name=self._part,
            cluster=self._args.cluster_arn,
            task_definition=task.arn,
            launch_type=None if on_instance else "FARGATE",
            platform_version=None if on_instance else "LATEST",
            capacity_provider_strategies=[
                aws.ecs.ServiceCapacityProviderStrategyArgs(
                    capacity_provider=on_instance.capacity_provider_name, weight=1
                )
            ]
            if on_instance
            else None,
            desired_count=self._args.tasks.least,
            # A second instance may not be to be had: there the old task makes room for the new one.
            deployment_minimum_healthy_percent=0 if on_instance else 100,
            deployment_maximum_percent=100 if on_instance else 200,
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            health_check_grace_period_seconds=self._start_seconds,
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=self._args.network.private_subnet_ids,
                security_groups=list(self._args.security_group_ids),
                assign_public_ip=False,
            ),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=self.target_group.arn,
                    container_name=CONTAINER,
                    container_port=self._args.settings.http.port,
                )
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(routes), ignore_changes=["desired_count"]),
        )

    def _scalable(self) -> aws.appautoscaling.Target:
        return aws.appautoscaling.Target(
            self._name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.concat("service/", self._args.cluster_name, "/", self.service.name),
            min_capacity=self._args.tasks.least,
            max_capacity=self._args.tasks.most,
            opts=self._opts,
        )

    def _scale_by_requests(self, balancer: aws.lb.LoadBalancer) -> None:
        label = pulumi.Output.concat(balancer.arn_suffix, "/", self.target_group.arn_suffix)
        metric = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
            predefined_metric_type="ALBRequestCountPerTarget", resource_label=label
        )
        aws.appautoscaling.Policy(
            self._name,
            name=f"{self._part}-requests",
            policy_type="TargetTrackingScaling",
            service_namespace=self.scalable.service_namespace,
            scalable_dimension=self.scalable.scalable_dimension,
            resource_id=self.scalable.resource_id,
            target_tracking_scaling_policy_configuration=aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
                predefined_metric_specification=metric,
                target_value=self._args.tasks.requests,
                scale_out_cooldown=SCALE_OUT_SECONDS,
                scale_in_cooldown=SCALE_IN_SECONDS,
            ),
            opts=self._opts,
        )
