"""``services-fit``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN, Stack
from policies.rule import UnknownValueError
from policies.rules.services_fit import services_fit
from policies.testing import Case, Cases, put, resource, stack
from tests.unit.policies.fit.worlds import World


def served(kind: str) -> Stack:
    return World(kind).stack()


def with_more(kind: str) -> Stack:
    """Of what needs more than its node has."""
    world = World(kind)
    world.serving["models"]["parcels"] = {"needs": {"memory_gib": 6.5}}
    return world.stack()


CASES = [
    Cases(
        services_fit,
        passing=[served("app"), stack(resource("aws:s3/bucket:Bucket", {})), stack()],
        failing=[
            put("template.containers[0].resources.memory", "1Gi", "apps"),
            put("template.containers[0].resources.cpu", 0.5, "apps"),
            put("template.containers[0].image", "registry/lambda:1", "apps"),
            put("template.containers[0].probes[1].httpGet.path", "/", "apps"),
            put("configuration.ingress.targetPort", 80, "apps"),
            with_more("app"),
            with_more("fargate"),
            with_more("ray"),
            with_more("lambda"),
        ],
        unknown=[
            put("template.containers[0].resources.cpu", UNKNOWN, "apps"),
            put("template.containers[0].env[0].value", UNKNOWN, "apps"),
            put("template.containers", UNKNOWN, "apps"),
            put("template", UNKNOWN, "apps"),
        ],
    ),
    Cases(
        services_fit,
        passing=[served("lambda")],
        failing=[
            put("memorySize", 128, "predict"),
            put("timeout", 1, "predict"),
            put("timeoutMilliseconds", 1, "api"),
        ],
        unknown=[
            put("memorySize", UNKNOWN, "predict"),
            put("environment", UNKNOWN, "predict"),
            put("environment.variables", UNKNOWN, "predict"),
            put("environment.variables.SERVE_SETTINGS_YAML", UNKNOWN, "predict"),
        ],
    ),
    Cases(
        services_fit,
        passing=[served("ray")],
        failing=[
            put("instanceTypes", ["c7i.large"], "cpu"),
            put("labels", {}, "cpu"),
            put("taints", [{"key": "ours", "value": "true", "effect": "NO_SCHEDULE"}], "cpu"),
            put("scalingConfig.maxSize", 1, "cpu"),
        ],
        unknown=[put("instanceTypes", UNKNOWN, "cpu"), put("scalingConfig.maxSize", UNKNOWN, "cpu")],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_services_fit(case: Case) -> None:
    case.check()


def test_what_is_known_is_said_before_what_is_not() -> None:
    broken, unknown = World("app"), World("fargate")
    broken.config["azure"]["cpu"] = 0.5
    rest = put("containerDefinitions", UNKNOWN, "ingress")
    service = [each for each in unknown.stack().resources if each.type == "aws:ecs/service:Service"]
    task = rest.of(Stack(tuple(each for each in unknown.stack().resources if each.type.endswith("TaskDefinition"))))
    assert isinstance(task, Stack)
    found = iter(services_fit.of(Stack((*broken.stack().resources, *task.resources, *service))))
    assert "Container App apps" in str(next(found))
    with pytest.raises(UnknownValueError):
        list(found)
