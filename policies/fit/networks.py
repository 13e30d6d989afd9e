"""Where a stack's private network leads to."""

from __future__ import annotations

from policies.node import Stack

NAT = "aws:ec2/natGateway:NatGateway"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"


def leads_out(stack: Stack) -> bool:
    """Whether to anywhere."""
    return any(True for _ in stack.of_type(NAT))


def leads_to(stack: Stack, service: str, region: str) -> bool:
    """Whether to a service of AWS, such as ``bedrock-runtime``, that has no gateway of its own."""
    name = f"com.amazonaws.{region}.{service}"
    return leads_out(stack) or any(each.get("serviceName") == name for each in stack.of_type(ENDPOINT))
