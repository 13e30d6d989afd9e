"""Rules of security groups, each of one TCP port, and the group of what nobody calls."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

HTTP = 80
HTTPS = 443
ANYWHERE = "0.0.0.0/0"


def inbound(
    description: str,
    port: int,
    *,
    cidrs: Sequence[pulumi.Input[str]] | None = None,
    group_id: pulumi.Input[str] | None = None,
) -> aws.ec2.SecurityGroupIngressArgs:
    """From networks, or from the members of a group."""
    return aws.ec2.SecurityGroupIngressArgs(
        description=description,
        protocol="tcp",
        from_port=port,
        to_port=port,
        cidr_blocks=None if cidrs is None else list(cidrs),
        security_groups=None if group_id is None else [group_id],
    )


def outbound(description: str, port: int, cidr: pulumi.Input[str]) -> aws.ec2.SecurityGroupEgressArgs:
    return aws.ec2.SecurityGroupEgressArgs(
        description=description, protocol="tcp", from_port=port, to_port=port, cidr_blocks=[cidr]
    )


def to_aws() -> aws.ec2.SecurityGroupEgressArgs:
    """The gateway endpoints of S3 and DynamoDB answer at public addresses; without NAT no route leads to any others."""
    return outbound("To AWS", HTTPS, ANYWHERE)


def to_mlflow(cidr: pulumi.Input[str]) -> aws.ec2.SecurityGroupEgressArgs:
    """``cidr``: of the network, in which its load balancer is."""
    return outbound("To MLflow", HTTP, cidr)


def outgoing(
    name: str, physical_name: str, what: str, vpc: aws.ec2.Vpc, parent: pulumi.Resource
) -> aws.ec2.SecurityGroup:
    """For what nobody calls, and which calls AWS's services and MLflow."""
    return aws.ec2.SecurityGroup(
        name,
        name=physical_name,
        vpc_id=vpc.id,
        description=what,
        egress=[to_aws(), to_mlflow(vpc.cidr_block)],
        tags={"Name": physical_name},
        opts=pulumi.ResourceOptions(parent=parent),
    )
