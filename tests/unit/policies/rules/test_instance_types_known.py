"""``instance-types-known``."""

from __future__ import annotations

import sys

import pytest

from policies.node import UNKNOWN
from policies.reading.shapes import shape_of
from policies.rules.instance_types_known import instance_types_known, known
from policies.testing import Case, Cases, drop, found, put, resource

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
NODES = resource("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.large", "g6.xlarge"]})
DATABASE = "aws:rds/instance:Instance"

CASES = [
    Cases(
        instance_types_known,
        passing=[
            NODES,
            resource(TEMPLATE, {"instanceType": "p6-b200.48xlarge"}),
            resource(TEMPLATE, {}),
            resource("aws:autoscaling/group:Group", {"launchTemplate": {"id": UNKNOWN, "version": UNKNOWN}}),
        ],
        failing=[
            put("instanceTypes[1]", "g6.xlarg"),
            put("instanceTypes", ["m7i"]),
            put("instanceTypes", "large"),
            put("instanceTypes[0]", 7),
            resource(TEMPLATE, {"instanceType": "g6.xlarg"}),
        ],
        unknown=["instanceTypes", "instanceTypes[1]"],
    ),
    Cases(
        instance_types_known,
        passing=[
            resource(DATABASE, {"instanceClass": "db.t4g.micro"}),
            resource(DATABASE, {"instanceClass": "db.m7g.24xlarge"}),
            resource("aws:rds/clusterInstance:ClusterInstance", {"instanceClass": "db.serverless"}),
        ],
        failing=[put("instanceClass", "t4g.micro"), put("instanceClass", "db.t4g"), drop("instanceClass")],
        unknown=["instanceClass"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_instance_types_known(case: Case) -> None:
    case.check()


def test_without_the_sdk_the_form_alone_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.loaders", None)
    shape_of.cache_clear()
    known.cache_clear()
    try:
        assert found(instance_types_known, resource(TEMPLATE, {"instanceType": "g6.xlarg"})) == []
        assert found(instance_types_known, resource(TEMPLATE, {"instanceType": "g6"}))
    finally:
        shape_of.cache_clear()
        known.cache_clear()
