"""An ECS service on instances of its own, with GPUs: each task is a Ray node, and has an instance's devices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from policies.fit.demand import Actor, together
from policies.fit.instances import INSTANCES, Instance, smallest
from policies.fit.misfit import Change
from policies.fit.nodes import on_ecs
from policies.fit.places.ecs_task import EcsTask, is_on_fargate, serving_tasks
from policies.fit.size import Hosts, Room, Size
from policies.node import Resource, Stack
from policies.reading.amounts import whole_or
from policies.reading.fargate import UNITS

PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
GROUP = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"

PROGRAM = "infra/aws/ingress.py"
MIB_STEP = 1024


@dataclass(frozen=True)
class InstanceService(EcsTask):
    kind: ClassVar[str] = "ECS service"
    setting: ClassVar[str] = "ecs.gpus"
    has_hosts: ClassVar[bool] = True

    @property
    def asks(self) -> Size:
        """What ECS finds a task an instance for."""
        container = self.container
        gpus = sum(
            whole_or(each.get("value"))
            for each in container.each("resourceRequirements")
            if str(each.get("type")).upper() == "GPU"
        )
        memory = whole_or(container.get("memory")) or whole_or(container.get("memoryReservation"))
        return Size(whole_or(container.get("cpu")) / UNITS, memory or whole_or(self.task.get("memory")), gpus)

    def rooms(self) -> Sequence[Room]:
        asks, hosts = self.asks, self.hosts()
        least, most = self.tasks()
        # The task has no limit of CPUs, so Ray counts those of the instance.
        cpus = hosts.instance.cpus if hosts and hosts.instance else asks.cpus
        return [
            Room(
                "the task",
                "containerDefinitions",
                cpus,
                asks.memory_mib,
                round(asks.gpus),
                least=least,
                most=most,
                asks=asks,
                hosts=hosts,
            )
        ]

    def hosts(self) -> Hosts | None:
        for group, template in self._groups():
            name = str(template.get("instanceType"))
            found = INSTANCES.get(name)
            free = on_ecs(found) if found else Size()
            most = whole_or(group.get("maxSize"))
            return Hosts(f"auto scaling group {group.name}", self.setting, name, found, most, group.urn, free)
        return None

    def _groups(self) -> Iterator[tuple[Resource, Resource]]:
        for provider in self.stack.linked(self.resource, "capacityProviderStrategies", PROVIDER):
            for group in self.stack.linked(provider, "autoScalingGroupProvider", GROUP):
                for path in ("launchTemplate", "mixedInstancesPolicy"):
                    for template in self.stack.linked(group, path, TEMPLATE):
                        yield group, template

    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
        needed = together(actors, room, self.object_store_mib(room))
        if room.hosts is None or len(needed.capabilities) > 1 or needed.gpus > room.gpus:
            # The task's devices are those that the models ask for at their fewest, so more of them are no instance's.
            return ()
        memory = room.memory_mib
        if needed.memory_mib > memory:
            memory = math.ceil(needed.memory_mib / MIB_STEP) * MIB_STEP
        asks = Size(room.asks.cpus, memory, room.asks.gpus)

        def fits(each: Instance) -> bool:
            return (
                on_ecs(each).holds(asks)
                and each.cpus >= needed.cpus
                and (not needed.gpus or has_such_gpus(each, needed.gpu_memory_mib, needed.capabilities))
            )

        found = smallest(fits, room.hosts.instance)
        if found is None:
            return ()
        changes = []
        if memory != room.memory_mib:
            changes.append(Change(PROGRAM, "GPU_TASK_MEMORY", memory))
        if room.hosts.instance is None or not fits(room.hosts.instance):
            changes.append(self.in_stack(f"{self.setting}.instance_type", found.name))
        return changes


def has_such_gpus(each: Instance, memory_mib: float, capabilities: frozenset[str]) -> bool:
    gpu = each.gpu
    return gpu is not None and gpu.memory_mib >= memory_mib and (not capabilities or capabilities == {gpu.capability})


def ecs_instances(stack: Stack) -> Iterator[InstanceService]:
    for service, task in serving_tasks(stack):
        if not is_on_fargate(service, task):
            yield InstanceService(stack, service, task)
