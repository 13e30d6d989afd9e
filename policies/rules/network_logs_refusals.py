"""``network-logs-refusals``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policies.reading.links import comes_from
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

VPC = "aws:ec2/vpc:Vpc"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"


@stack_rule(
    "network-logs-refusals",
    VPC,
    group="operations",
    severity=Severity.MEDIUM,
    remedy='aws.ec2.FlowLog(vpc_id=vpc.id, traffic_type="REJECT", log_destination=group.arn, iam_role_arn=role.arn)',
    source="https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html",
)
def network_logs_refusals(stack: Stack) -> Iterator[Violation]:
    """Each network logs the connections that it refuses."""
    return each_held(stack.of_type(VPC), partial(_of_network, stack))


def _of_network(stack: Stack, vpc: Resource) -> Iterator[Violation]:
    logs = [each for each in stack.of_type(FLOW_LOG) if comes_from(stack, each, "vpcId", vpc, "vpcId")]
    if not any(each.get("trafficType") in ("REJECT", "ALL") for each in logs):
        if not logs:
            yield Violation("", "a FlowLog of it", None, vpc.urn)
        for each in logs:
            yield from each.expect("trafficType", "REJECT", "ALL")
