"""``training-on-spot``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from policies.node import UNKNOWN, Resource, Stack
from policies.rules.training_on_spot import training_on_spot
from policies.testing import Case, Cases, drop, found, gone, put, resource, stack

SPOT = [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
CLUSTER = resource("aws:ecs/cluster:Cluster", {}, "cluster")
PROVIDERS = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
LISTED = resource(PROVIDERS, {"capacityProviders": ["FARGATE", "FARGATE_SPOT", UNKNOWN]}, "listed")
NODES = resource("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["g6.xlarge"], "capacityType": "SPOT"}, "nodes")


def machine(parameters: Any, *, seconds: int = 7200, key: str = "Parameters") -> Resource:
    job = {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "TimeoutSeconds": seconds, key: parameters}
    inside = {"StartAt": "Train", "States": {"Train": {**job, "End": True}}}
    states = {"Both": {"Type": "Parallel", "Branches": [inside], "End": True}}
    return resource(
        "aws:sfn/stateMachine:StateMachine",
        {"definition": json.dumps({"StartAt": "Both", "States": states})},
        "machine",
    )


ON_SPOT = machine({"CapacityProviderStrategy": SPOT})
ON_DEMAND = {"LaunchType": "FARGATE"}

CASES = [
    Cases(
        training_on_spot,
        passing=[
            stack(CLUSTER, LISTED, NODES, ON_SPOT),
            stack(ON_SPOT),
            stack(machine(ON_DEMAND, seconds=1800)),
            stack(machine({"CapacityProviderStrategy": SPOT}, key="Arguments")),
            stack(resource(NODES.type, {"instanceTypes": ["m7i.large"], "capacityType": "ON_DEMAND"})),
        ],
        failing=[
            stack(machine(ON_DEMAND)),
            stack(machine(None)),
            stack(machine({"CapacityProviderStrategy": [{"CapacityProvider": "FARGATE", "Weight": 1}]})),
            stack(machine({"CapacityProviderStrategy": [{**SPOT[0], "Weight": 0}]})),
            gone("listed"),
            put("capacityProviders", ["FARGATE"], "listed"),
            put("capacityType", "ON_DEMAND", "nodes"),
            drop("capacityType", "nodes"),
        ],
        unknown=[
            put("definition", UNKNOWN, "machine"),
            put("capacityProviders", ["FARGATE", UNKNOWN], "listed"),
            put("capacityProviders", UNKNOWN, "listed"),
            put("capacityType", UNKNOWN, "nodes"),
            put("instanceTypes", UNKNOWN, "nodes"),
        ],
    ),
    Cases(
        training_on_spot,
        passing=[stack(resource(NODES.type, {"instanceTypes": ["g6.xlarge"]}))],
        failing=[stack(machine(ON_DEMAND, seconds=1800))],
        config={"nodes": False, "seconds": 600},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_training_on_spot(case: Case) -> None:
    case.check()


@pytest.mark.parametrize(
    ("seen", "at"),
    [
        (stack(CLUSTER, replace(LISTED, value={"capacityProviders": ["FARGATE"]}), ON_SPOT), LISTED),
        (stack(CLUSTER, ON_SPOT), CLUSTER),
        (stack(CLUSTER, LISTED, machine(ON_DEMAND)), ON_SPOT),
        (stack(resource(NODES.type, {"instanceTypes": ["g6.xlarge"]}, "nodes")), NODES),
    ],
)
def test_it_names_the_resource_that_is_to_be_changed(seen: Stack, at: Resource) -> None:
    assert [each.urn for each in found(training_on_spot, seen)] == [at.urn]
