"""``multi-zone``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN, Resource, Stack
from policies.rules.multi_zone import multi_zone
from policies.testing import Case, Cases, drop, put, resource, stack

A = resource("aws:ec2/subnet:Subnet", {"availabilityZone": "us-east-1a"}, "a")
B = resource("aws:ec2/subnet:Subnet", {"availabilityZone": "us-east-1b"}, "b")
SERVICE = resource(
    "aws:ecs/service:Service",
    {"networkConfiguration": {"subnets": [UNKNOWN, UNKNOWN]}},
    "service",
    links={"networkConfiguration": [A, B]},
)
DATABASE = resource("aws:rds/instance:Instance", {"multiAz": True}, "database")
BALANCERS = ("aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer")
GROUP = "aws:autoscaling/group:Group"
BY_ID = [
    resource("aws:ec2/subnet:Subnet", {"availabilityZoneId": zone}, name)
    for zone, name in (("use1-az1", "one"), ("use1-az1", "same"), ("use1-az2", "two"))
]


def mapped(type_: str, *subnets: str) -> Resource:
    return resource(type_, {"subnetMappings": [{"subnetId": each} for each in subnets]})


def between(*subnets: Resource) -> Stack:
    inputs = {"subnetIds": [UNKNOWN for _ in subnets]}
    return stack(*subnets, resource(NODES, inputs, links={"subnetIds": subnets}))


NODES = "aws:eks/nodeGroup:NodeGroup"

CASES = [
    Cases(
        multi_zone,
        passing=[
            stack(A, B, SERVICE, DATABASE),
            stack(resource(NODES, {"subnetIds": ["subnet-1", "subnet-2"]})),
            stack(resource("aws:autoscaling/group:Group", {"vpcZoneIdentifiers": [UNKNOWN, UNKNOWN]})),
            stack(resource(GROUP, {"availabilityZones": ["us-east-1a", "us-east-1b"]})),
            *(stack(mapped(each, "subnet-1", "subnet-2")) for each in BALANCERS),
            stack(resource(SERVICE.type, {"launchType": "EC2"})),
            between(BY_ID[0], BY_ID[2]),
        ],
        failing=[
            put("availabilityZone", "us-east-1a", "b"),
            put("networkConfiguration.subnets", [UNKNOWN], "service"),
            drop("networkConfiguration.subnets", "service"),
            put("multiAz", False, "database"),
            drop("multiAz", "database"),
            stack(resource(NODES, {"subnetIds": ["subnet-1"]})),
            *(stack(resource(each, {})) for each in BALANCERS),
            *(stack(mapped(each, "subnet-1")) for each in BALANCERS),
            stack(resource(GROUP, {"availabilityZones": ["us-east-1a", "us-east-1a"]})),
            between(BY_ID[0], BY_ID[1]),
        ],
        unknown=[
            put("networkConfiguration.subnets", UNKNOWN, "service"),
            put("availabilityZone", UNKNOWN, "b"),
            put("multiAz", UNKNOWN, "database"),
        ],
    ),
    Cases(
        multi_zone,
        passing=[stack(resource(DATABASE.type, {}))],
        failing=[stack(A, B, SERVICE)],
        config={"zones": 3, "database": False},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_multi_zone(case: Case) -> None:
    case.check()
