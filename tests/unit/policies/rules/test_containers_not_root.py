"""``containers-not-root``."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Resource
from policies.rules.containers_not_root import containers_not_root
from policies.testing import Case, Cases, drop, put, resource
from tests.unit.policies.rules.pods import HEAD, SAFE, WORKER, deployment, ray_service, task

TASK: dict[str, Any] = {"user": "10001:10001", "readonlyRootFilesystem": True}
CONTEXT = f"{WORKER}.containers[0].securityContext"
POD = "spec.template.spec"


def by_its_pod() -> Resource:
    """What a container doesn't say, its pod does."""
    made = deployment(securityContext={"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True})
    made.value["spec"]["template"]["spec"]["securityContext"] = {"runAsNonRoot": True, "runAsUser": 10001}
    return made


CASES = [
    Cases(
        containers_not_root,
        passing=[task(**TASK), task(**{**TASK, "user": "app"}), task(**{**TASK, "privileged": False})],
        failing=[
            *(task(**{**TASK, "user": user}) for user in ("root", "0", "0:0", "10001:0", "app:root", "", None, True)),
            task(readonlyRootFilesystem=True),
            task(user="10001"),
            task(**{**TASK, "readonlyRootFilesystem": False}),
            task(**{**TASK, "privileged": True}),
            put("containerDefinitions", "none"),
            resource("aws:ecs/taskDefinition:TaskDefinition", {}),
        ],
        unknown=["containerDefinitions"],
    ),
    Cases(
        containers_not_root,
        passing=[ray_service({"securityContext": SAFE}, securityContext=SAFE), ray_service(securityContext=SAFE)],
        failing=[
            drop(CONTEXT),
            put(f"{CONTEXT}.runAsNonRoot", False),
            put(f"{CONTEXT}.runAsUser", 0),
            put(f"{CONTEXT}.allowPrivilegeEscalation", True),
            drop(f"{CONTEXT}.allowPrivilegeEscalation"),
            put(f"{CONTEXT}.readOnlyRootFilesystem", False),
            put(f"{CONTEXT}.privileged", True),
            put(f"{HEAD}.containers[0]", {}),
            put(f"{HEAD}.initContainers", [{"name": "it"}]),
            put("spec.rayClusterConfig.autoscalerOptions", None),
        ],
        unknown=[
            f"{CONTEXT}.runAsNonRoot",
            f"{HEAD}.containers",
            "spec.rayClusterConfig",
            "spec.rayClusterConfig.enableInTreeAutoscaling",
        ],
    ),
    Cases(
        containers_not_root,
        passing=[by_its_pod(), deployment(securityContext=SAFE)],
        failing=[
            put(f"{POD}.securityContext.runAsUser", 0),
            put(f"{POD}.securityContext.runAsNonRoot", "true"),
            drop(f"{POD}.securityContext"),
            put(f"{POD}.containers[0].securityContext.runAsNonRoot", False),
        ],
        unknown=[f"{POD}.securityContext", put(f"{POD}.containers[0].securityContext", UNKNOWN)],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_containers_not_root(case: Case) -> None:
    case.check()
