"""Instances with GPUs for ECS, which starts them when a task waits for one and ends them when none does."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import instances
from infra.aws.account import Account
from infra.aws.cluster import Cluster, list_capacity
from infra.aws.iam import role
from infra.aws.network import Network

AMI = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
"""EC2 looks it up at each start, so a new instance has the newest drivers.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html"""

ALL_USED_PERCENT = 100
WARM_UP_SECONDS = 300
IN_ECS = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


@dataclass(frozen=True)
class GpuCapacityArgs:
    """``key_arn``: encrypts the disks.

    The instances lie in private subnets: without a NAT gateway the network needs the endpoints ``ENDPOINTS``.
    """

    account: Account
    settings: settings.Gpus
    network: Network
    cluster: Cluster
    key_arn: pulumi.Input[str]
    security_group_ids: Sequence[pulumi.Input[str]]


ENDPOINTS = ("ecs", "ecs-agent", "ecs-telemetry")
"""Where the agent of an instance reports to."""


class GpuCapacity(pulumi.ComponentResource):
    """A group of instances and the capacity provider that sets its size, beside Fargate in the cluster's list."""

    capacity_provider_name: pulumi.Output[str]
    auto_scaling_group_name: pulumi.Output[str]
    listed: aws.ecs.ClusterCapacityProviders

    def __init__(self, name: str, args: GpuCapacityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:GpuCapacity", name, None, opts)
        self._name = name
        self._args = args
        self._part = args.account.naming.name("gpu")
        self._opts = pulumi.ResourceOptions(parent=self)
        profile = self._profile()
        group = self._group(self._template(profile), profile.tags)
        provider = self._capacity_provider(group)
        self.listed = list_capacity(name, args.cluster.name, [provider.name], self)
        self.capacity_provider_name = provider.name
        self.auto_scaling_group_name = group.name
        self.register_outputs(
            {
                "capacity_provider_name": self.capacity_provider_name,
                "auto_scaling_group_name": self.auto_scaling_group_name,
            }
        )

    def _profile(self) -> aws.iam.InstanceProfile:
        """What the ECS agent of an instance needs; tasks have roles of their own and can't take this one on."""
        taken = role(
            f"{self._name}-instance",
            f"{self._part}-instance",
            instances.TRUST,
            [],
            self,
            managed=[IN_ECS],
        )
        return aws.iam.InstanceProfile(self._name, name=f"{self._part}-instance", role=taken.name, opts=self._opts)

    def _template(self, profile: aws.iam.InstanceProfile) -> aws.ec2.LaunchTemplate:
        return aws.ec2.LaunchTemplate(
            self._name,
            name=self._part,
            image_id=AMI,
            instance_type=self._args.settings.instance_type,
            update_default_version=True,
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
            vpc_security_group_ids=self._args.security_group_ids,
            metadata_options=instances.metadata(),
            monitoring=aws.ec2.LaunchTemplateMonitoringArgs(enabled=True),
            block_device_mappings=instances.disks(self._args.settings.disk_gib, self._args.key_arn),
            tag_specifications=instances.tag_specifications(profile.tags, self._part),
            user_data=self._args.cluster.name.apply(user_data),
            opts=self._opts,
        )

    def _group(self, template: aws.ec2.LaunchTemplate, tags: instances.Tags) -> aws.autoscaling.Group:
        sizes, spot = self._args.settings, self._args.settings.spot
        version = template.latest_version.apply(str)
        return aws.autoscaling.Group(
            self._name,
            name=self._part,
            min_size=sizes.least,
            max_size=sizes.most,
            vpc_zone_identifiers=self._args.network.private_subnet_ids,
            launch_template=None if spot else aws.autoscaling.GroupLaunchTemplateArgs(id=template.id, version=version),
            mixed_instances_policy=self._spot(template, version) if spot else None,
            capacity_rebalance=spot,
            # ECS decides which instance ends: none that runs a task.
            protect_from_scale_in=True,
            # Protected instances would keep a group from being deleted.
            force_delete=not self._args.account.protect,
            health_check_type="EC2",
            tags=tags.apply(_group_tags),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["desired_capacity"]),
        )

    def _spot(
        self, template: aws.ec2.LaunchTemplate, version: pulumi.Output[str]
    ) -> aws.autoscaling.GroupMixedInstancesPolicyArgs:
        return aws.autoscaling.GroupMixedInstancesPolicyArgs(
            launch_template=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
                launch_template_specification=(
                    aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                        launch_template_id=template.id, version=version
                    )
                )
            ),
            instances_distribution=aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
                on_demand_base_capacity=0,
                on_demand_percentage_above_base_capacity=0,
                spot_allocation_strategy="price-capacity-optimized",
            ),
        )

    def _capacity_provider(self, group: aws.autoscaling.Group) -> aws.ecs.CapacityProvider:
        managed = aws.ecs.CapacityProviderAutoScalingGroupProviderManagedScalingArgs(
            status="ENABLED",
            target_capacity=ALL_USED_PERCENT,
            minimum_scaling_step_size=1,
            maximum_scaling_step_size=max(1, self._args.settings.most),
            instance_warmup_period=WARM_UP_SECONDS,
        )
        return aws.ecs.CapacityProvider(
            self._name,
            name=self._part,
            auto_scaling_group_provider=aws.ecs.CapacityProviderAutoScalingGroupProviderArgs(
                auto_scaling_group_arn=group.arn,
                managed_termination_protection="ENABLED",
                managed_draining="ENABLED",
                managed_scaling=managed,
            ),
            opts=self._opts,
        )


def user_data(cluster: str) -> str:
    """The start script of an instance, base64: the agent's settings.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html"""
    lines = [
        f"ECS_CLUSTER={cluster}",
        "ECS_ENABLE_GPU_SUPPORT=true",
        "ECS_AWSVPC_BLOCK_IMDS=true",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
    ]
    script = "\n".join(["#!/bin/bash", "cat >> /etc/ecs/ecs.config <<'SETTINGS'", *lines, "SETTINGS", ""])
    return base64.b64encode(script.encode()).decode()


def _group_tags(known: Mapping[str, str] | None) -> list[aws.autoscaling.GroupTagArgs]:
    # A group takes tags in a shape of its own, which the stack's transformation leaves alone.
    return [
        aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
        for key, value in sorted({**(known or {}), "AmazonECSManaged": "true"}.items())
    ]
