"""``gpus-allowed``."""

from __future__ import annotations

import pytest

from policies.rules.gpus_allowed import gpus_allowed
from policies.testing import Case, Cases, drop, put, resource

INSTANCE = "aws:ec2/instance:Instance"
GROUP = "aws:autoscaling/group:Group"
GPUS = resource("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["g6.2xlarge"]})


def overriding(*types: str) -> dict[str, object]:
    return {"mixedInstancesPolicy": {"launchTemplate": {"overrides": [{"instanceType": each} for each in types]}}}


TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


def requiring(**requirements: object) -> dict[str, object]:
    return {"instanceRequirements": {"memoryMib": {"min": 4096}, "vcpuCount": {"min": 2}, **requirements}}


def overridden(**requirements: object) -> dict[str, object]:
    return {"mixedInstancesPolicy": {"launchTemplate": {"overrides": [requiring(**requirements)]}}}


CASES = [
    Cases(
        gpus_allowed,
        passing=[
            resource(TEMPLATE, requiring()),
            resource(TEMPLATE, requiring(acceleratorCount={"min": 0, "max": 0})),
            resource(TEMPLATE, requiring(acceleratorTypes=["inference"], acceleratorCount={"min": 1})),
        ],
        failing=[
            put("instanceRequirements.acceleratorTypes", ["gpu"]),
            put("instanceRequirements.acceleratorTypes", ["inference", "gpu"]),
            put("instanceRequirements.acceleratorCount", {"min": 1}),
            resource(GROUP, overridden(acceleratorCount={"min": 1})),
        ],
        unknown=["instanceRequirements", "instanceRequirements.acceleratorTypes"],
    ),
    Cases(
        gpus_allowed,
        passing=[resource(TEMPLATE, requiring(acceleratorTypes=["gpu"], allowedInstanceTypes=["g6.*"]))],
        failing=[
            put("instanceRequirements.allowedInstanceTypes", ["g6.*", "p5.*"]),
            put("instanceRequirements.allowedInstanceTypes", ["*"]),
            drop("instanceRequirements.allowedInstanceTypes"),
        ],
        unknown=["instanceRequirements.allowedInstanceTypes"],
        config={"allowed": True, "families": ["g6"]},
    ),
    Cases(
        gpus_allowed,
        passing=[
            resource(INSTANCE, {"instanceType": "m7i.large"}),
            resource(GROUP, overriding("c7g.large", "gr.large")),
            resource("aws:eks/nodeGroup:NodeGroup", {}),
        ],
        failing=[
            put("instanceType", "g6.xlarge"),
            put("instanceType", "p6-b200.48xlarge"),
            GPUS,
            resource(GROUP, overriding("m7i.large", "g4ad.xlarge")),
        ],
        unknown=["instanceType"],
    ),
    Cases(
        gpus_allowed,
        passing=[GPUS, resource(INSTANCE, {"instanceType": "m7i.large"})],
        failing=[
            put("instanceTypes", ["g6.2xlarge", "g5.xlarge"]),
            put("instanceTypes[0]", "p5.48xlarge"),
            put("instanceTypes[0]", "g6e.xlarge"),
        ],
        unknown=["instanceTypes", "instanceTypes[0]"],
        config={"allowed": True, "families": ["g6"]},
    ),
    Cases(
        gpus_allowed,
        passing=[resource(GROUP, overriding("m7i.large"))],
        failing=[],
        unknown=["mixedInstancesPolicy", "mixedInstancesPolicy.launchTemplate"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_gpus_allowed(case: Case) -> None:
    case.check()
