"""Resources that run containers, for the tests of rules that look at those."""

from __future__ import annotations

import json
from typing import Any

from policies.node import Resource
from policies.testing import resource

DIGEST = f"registry/ours@sha256:{'4c' * 32}"
SAFE = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}


def task(**container: Any) -> Resource:
    return resource("aws:ecs/taskDefinition:TaskDefinition", {"containerDefinitions": json.dumps([container])})


def deployment(**container: Any) -> Resource:
    return resource("kubernetes:apps/v1:Deployment", {"spec": {"template": {"spec": {"containers": [container]}}}})


def ray_service(autoscaler: dict[str, Any] | None = None, **container: Any) -> Resource:
    """A head and a worker with the same container."""
    template = {"spec": {"containers": [container]}}
    cluster: dict[str, Any] = {
        "headGroupSpec": {"template": template},
        "workerGroupSpecs": [{"groupName": "cpu", "template": {"spec": {"containers": [{**container}]}}}],
    }
    if autoscaler is not None:
        cluster |= {"enableInTreeAutoscaling": True, "autoscalerOptions": autoscaler}
    return resource("kubernetes:ray.io/v1:RayService", {"spec": {"rayClusterConfig": cluster}})


def container_app(**container: Any) -> Resource:
    return resource("azure-native:app:ContainerApp", {"template": {"containers": [container]}})


def container_group(**container: Any) -> Resource:
    return resource("azure-native:containerinstance:ContainerGroup", {"containers": [container]})


HEAD = "spec.rayClusterConfig.headGroupSpec.template.spec"
WORKER = "spec.rayClusterConfig.workerGroupSpecs[0].template.spec"
