"""``gpu-nodes-bounded``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.gpu_nodes_bounded import gpu_nodes_bounded
from policies.testing import Case, Cases, drop, put, resource, stack

TAINTS = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}]
NODES = resource(
    "aws:eks/nodeGroup:NodeGroup",
    {"instanceTypes": ["g6.2xlarge"], "scalingConfig": {"maxSize": 8.0}, "taints": TAINTS},
    "nodes",
)
TEMPLATE = resource("aws:ec2/launchTemplate:LaunchTemplate", {"instanceType": "g6.xlarge"}, "template")
GROUP = resource(
    "aws:autoscaling/group:Group",
    {"maxSize": 2, "launchTemplate": {"id": UNKNOWN}},
    "group",
    links={"launchTemplate": [TEMPLATE]},
)
IMAGE = {"amiType": "AL2023_x86_64_NVIDIA", "scalingConfig": {"maxSize": 1}}
MANY = {"instanceTypes": ["m7i.large"], "scalingConfig": {"maxSize": 40}}

CASES = [
    Cases(
        gpu_nodes_bounded,
        passing=[
            stack(NODES, TEMPLATE, GROUP),
            stack(resource("aws:eks/nodeGroup:NodeGroup", MANY)),
            stack(resource("aws:autoscaling/group:Group", {"maxSize": 40})),
        ],
        failing=[
            put("scalingConfig.maxSize", 9, "nodes"),
            drop("scalingConfig", "nodes"),
            put("taints", [], "nodes"),
            drop("taints", "nodes"),
            put("taints[0].effect", "PREFER_NO_SCHEDULE", "nodes"),
            put("taints[0].key", "gpu", "nodes"),
            put("maxSize", 9, "group"),
            drop("maxSize", "group"),
            stack(resource("aws:eks/nodeGroup:NodeGroup", IMAGE)),
        ],
        unknown=[
            put("instanceTypes", UNKNOWN, "nodes"),
            put("scalingConfig", UNKNOWN, "nodes"),
            put("taints", UNKNOWN, "nodes"),
            put("taints[0].key", UNKNOWN, "nodes"),
            put("instanceType", UNKNOWN, "template"),
            put("maxSize", UNKNOWN, "group"),
            put("mixedInstancesPolicy", UNKNOWN, "group"),
        ],
    ),
    Cases(gpu_nodes_bounded, passing=[stack(TEMPLATE, GROUP)], failing=[stack(NODES)], config={"most": 4}),
    Cases(gpu_nodes_bounded, passing=[stack(TEMPLATE, GROUP)], failing=[stack(NODES)], config={"taint": "accelerator"}),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_gpu_nodes_bounded(case: Case) -> None:
    case.check()
