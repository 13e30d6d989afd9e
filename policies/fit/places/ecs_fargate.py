"""An ECS service on Fargate: each task is a Ray node of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from policies.fit.demand import Actor, holds
from policies.fit.misfit import Change
from policies.fit.places.ecs_task import EcsTask, is_on_fargate, serving_tasks
from policies.fit.size import Room
from policies.node import Stack
from policies.reading.fargate import MEMORY, UNITS, cpu_units, memory_mib

CPU_SHARE_OF_PRICE = 9.1
"""What a vCPU costs in GiB of memory. https://aws.amazon.com/fargate/pricing/"""


@dataclass(frozen=True)
class FargateService(EcsTask):
    kind: ClassVar[str] = "ECS service"
    setting: ClassVar[str] = "ecs.size"

    def rooms(self) -> Sequence[Room]:
        cpu, memory = self.size
        least, most = self.tasks()
        return [Room("the task", "cpu", cpu / UNITS, memory, least=least, most=most)]

    @property
    def size(self) -> tuple[int, int]:
        return cpu_units(self.task.get("cpu")) or 0, memory_mib(self.task.get("memory")) or 0

    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
        cpu, memory = self.size

        def fits(units: int, mib: int) -> bool:
            larger = replace(room, cpus=units / UNITS, memory_mib=mib)
            return units >= cpu and mib >= memory and holds(actors, larger, self.object_store_mib(larger))

        fitting = [(units, mib) for units, allowed in MEMORY.items() for mib in allowed if fits(units, mib)]
        if not fitting:
            return ()
        units, mib = min(fitting, key=lambda size: size[0] / UNITS * CPU_SHARE_OF_PRICE + size[1] / 1024)
        return [self.in_stack(self.setting, {"cpu": units, "memory": mib})]


def ecs_fargate(stack: Stack) -> Iterator[FargateService]:
    for service, task in serving_tasks(stack):
        if is_on_fargate(service, task):
            yield FargateService(stack, service, task)
