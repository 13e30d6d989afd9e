"""``autoscaling-bounded``."""

from __future__ import annotations

import pytest

from policies.rules.autoscaling_bounded import autoscaling_bounded
from policies.testing import Case, Cases, drop, put, resource

NODES = resource("aws:eks/nodeGroup:NodeGroup", {"scalingConfig": {"minSize": 1.0, "desiredSize": 2.0, "maxSize": 3.0}})
TARGET = "aws:appautoscaling/target:Target"
GROUP = "aws:autoscaling/group:Group"
APP = "azure-native:app:ContainerApp"

CASES = [
    Cases(
        autoscaling_bounded,
        passing=[
            NODES,
            resource(TARGET, {"minCapacity": 0, "maxCapacity": 50}),
            resource(GROUP, {"minSize": 0, "maxSize": 2}),
            resource(APP, {"template": {"scale": {"maxReplicas": 5}}}),
        ],
        failing=[
            put("scalingConfig.maxSize", 51),
            drop("scalingConfig.maxSize"),
            drop("scalingConfig"),
            put("scalingConfig.minSize", 4),
            put("scalingConfig.minSize", -1),
            put("scalingConfig.desiredSize", 0),
            put("scalingConfig.desiredSize", "many"),
            resource(TARGET, {"minCapacity": 3, "maxCapacity": 2}),
            resource(GROUP, {"minSize": 1, "maxSize": 2, "desiredCapacity": 3}),
            resource(APP, {"template": {"scale": {"minReplicas": 1}}}),
            resource(APP, {}),
        ],
        unknown=["scalingConfig", "scalingConfig.minSize", "scalingConfig.maxSize", "scalingConfig.desiredSize"],
    ),
    Cases(autoscaling_bounded, passing=[resource(TARGET, {"maxCapacity": 2})], failing=[NODES], config={"most": 2}),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_autoscaling_bounded(case: Case) -> None:
    case.check()
