"""A task of ECS with the serving settings in one of its containers, wherever it runs."""

from __future__ import annotations

import functools
import re
from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.fit.place import Place, Wire
from policies.node import UNKNOWN, Node, Resource, Stack, unknown_at
from policies.reading.amounts import whole_or
from policies.reading.containers import ENVIRONMENT, TASK, variable
from serve.settings import TEXT_VARIABLE

SERVICE = "aws:ecs/service:Service"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
ROLE = "aws:iam/role:Role"
SCALABLE = "aws:appautoscaling/target:Target"

PORT_OF_URL = re.compile(r"^https?://[^/:]+:(\d+)(/.*)?$")


@dataclass(frozen=True)
class EcsTask(Place, ABC):
    """``resource``: the service."""

    task: Resource

    @functools.cached_property
    def container(self) -> Node:
        return next(each for each in _containers(self.task) if _serves(each))

    def variable(self, name: str) -> Node:
        return variable(self.container, name, ENVIRONMENT[TASK])

    @property
    def image(self) -> Node:
        return self.container.at("image")

    def roles(self) -> Sequence[Resource]:
        return self.stack.linked(self.task, "taskRoleArn", ROLE)

    def execution_roles(self) -> Sequence[Resource]:
        """What ECS starts the task with."""
        return self.stack.linked(self.task, "executionRoleArn", ROLE)

    def target_groups(self) -> Sequence[Resource]:
        return self.stack.linked(self.resource, "loadBalancers", TARGET_GROUP)

    def tasks(self) -> tuple[int, int]:
        """Between how many of them the service scales."""
        for target in self.stack.linking(self.resource, "resourceId", SCALABLE):
            return whole_or(target.get("minCapacity")), whole_or(target.get("maxCapacity"))
        desired = whole_or(self.resource.get("desiredCount"), 1)
        return desired, desired

    def ports(self) -> Iterator[Wire]:
        urn = self.task.urn
        for mapping in self.container.each("portMappings"):
            node = mapping.at("containerPort")
            yield Wire("the container's port", node.get(), node, urn)
        for balancer in self.resource.each("loadBalancers"):
            node = balancer.at("containerPort")
            yield Wire("the service's port", node.get(), node, self.resource.urn)
        for group in self.target_groups():
            yield Wire(f"the port of target group {group.name}", group.get("port"), group.at("port"), group.urn)
        url = self.variable("HEALTH_URL")
        found = PORT_OF_URL.match(str(url.get(default="")))
        if found:
            yield Wire("the port of HEALTH_URL", int(found[1]), url, urn)

    def health(self) -> Iterator[Wire]:
        for group in self.target_groups():
            node = group.at("healthCheck.path")
            yield Wire(f"the health check of target group {group.name}", node.get(), node, group.urn)
        url = self.variable("HEALTH_URL")
        found = PORT_OF_URL.match(str(url.get(default="")))
        if found:
            yield Wire("HEALTH_URL", found[2] or "/", url, self.task.urn)

    def security_groups(self) -> Sequence[Resource]:
        return self.stack.linked(self.resource, "networkConfiguration", SECURITY_GROUP)


def serving_tasks(stack: Stack) -> Iterator[tuple[Resource, Resource]]:
    """Each service and its task with serving settings; those that aren't known may be.

    Raises:
        UnknownValueError: a service's containers aren't known. Those that are come before.
    """
    unknown = None
    for service in stack.of_type(SERVICE):
        for task in stack.linked(service, "taskDefinition", TASK):
            if task.at("containerDefinitions").value is UNKNOWN:
                unknown = unknown or unknown_at("containerDefinitions")
            elif any(_serves(each) for each in _containers(task)):
                yield service, task
    if unknown is not None:
        raise unknown


def is_on_fargate(service: Resource, task: Resource) -> bool:
    compatible = task.get("requiresCompatibilities", [])
    launched = str(service.get("launchType", "")).upper()
    return launched == "FARGATE" or (launched != "EC2" and isinstance(compatible, list) and "FARGATE" in compatible)


def _containers(task: Resource) -> Iterator[Node]:
    found = task.document("containerDefinitions")
    yield from (each for each in (found.each() if found else ()) if isinstance(each.value, dict))


def _serves(container: Node) -> bool:
    return variable(container, TEXT_VARIABLE, ENVIRONMENT[TASK]).value is not None
