"""``network-logs-refusals``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.network_logs_refusals import network_logs_refusals
from policies.testing import Case, Cases, drop, gone, put, resource, stack

VPC = resource("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"}, "vpc")
ANOTHER = resource("aws:ec2/vpc:Vpc", {"cidrBlock": "10.1.0.0/16"}, "another")
LOG = resource("aws:ec2/flowLog:FlowLog", {"trafficType": "REJECT"}, "log", links={"vpcId": [VPC]})
OF_ALL = resource("aws:ec2/flowLog:FlowLog", {"trafficType": "ALL"}, "log", links={"vpcId": [VPC]})
OF_SUBNET = resource("aws:ec2/flowLog:FlowLog", {"trafficType": "ALL", "subnetId": "subnet-0"}, "log")

CASES = Cases(
    network_logs_refusals,
    passing=[stack(VPC, LOG), stack(VPC, OF_ALL), stack()],
    failing=[
        gone("log"),
        put("trafficType", "ACCEPT", at="log"),
        drop("trafficType", at="log"),
        stack(VPC, ANOTHER, LOG),
        stack(VPC, OF_SUBNET),
    ],
    unknown=[put("trafficType", UNKNOWN, at="log")],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_network_logs_refusals(case: Case) -> None:
    case.check()
