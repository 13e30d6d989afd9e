"""``fargate-sizes``."""

from __future__ import annotations

import json

import pytest

from policies.rules.fargate_sizes import fargate_sizes
from policies.testing import Case, Cases, drop, found, put, resource

TASK = "aws:ecs/taskDefinition:TaskDefinition"
FARGATE = {
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "512",
    "memory": "1024",
    "networkMode": "awsvpc",
    "executionRoleArn": "arn:aws:iam::123456789012:role/start",
    "containerDefinitions": json.dumps([{"name": "serve", "cpu": 256, "memory": 512}, {"name": "log"}]),
}

CASES = Cases(
    fargate_sizes,
    passing=[
        resource(TASK, FARGATE),
        resource(TASK, {**FARGATE, "cpu": "16384", "memory": "122880"}),
        resource(TASK, {**FARGATE, "cpu": "256", "memory": "2048"}),
        resource(TASK, {**FARGATE, "cpu": "4 vCPU", "memory": "8 GB"}),
        resource(TASK, {**FARGATE, "cpu": ".25vcpu", "memory": "0.5GB"}),
        resource(TASK, {"requiresCompatibilities": ["EC2"], "networkMode": "host"}),
        resource(TASK, {}),
    ],
    failing=[
        put("memory", "512"),
        put("cpu", "500"),
        put("cpu", "3 vCPU"),
        put("cpu", "1 GB"),
        put("memory", "1 vCPU"),
        put("memory", "8 GB"),
        resource(TASK, {**FARGATE, "cpu": "4 vCPU", "memory": "8 GB", "containerDefinitions": '[{"memory": 8193}]'}),
        drop("cpu"),
        resource(TASK, {**FARGATE, "cpu": "256", "memory": "1536"}),
        put("containerDefinitions", json.dumps([{"name": "serve", "memory": 2048}])),
        put("containerDefinitions", json.dumps([{"cpu": 500}, {"cpu": 500}])),
        put("networkMode", "bridge"),
        drop("executionRoleArn"),
    ],
    unknown=[
        "requiresCompatibilities",
        "cpu",
        "memory",
        "networkMode",
        "containerDefinitions",
        "executionRoleArn",
    ],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_fargate_sizes(case: Case) -> None:
    case.check()


def test_it_says_what_would_fit() -> None:
    (violation,) = found(fargate_sizes, resource(TASK, {**FARGATE, "memory": "512", "containerDefinitions": "[]"}))
    assert str(violation) == "memory: expected 1024 to 4096 in steps of 1024 with cpu 512, got 512"
