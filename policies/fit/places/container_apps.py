"""Azure Container Apps: each replica of the app is a Ray node of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from policies.fit.demand import Actor, holds
from policies.fit.misfit import Change
from policies.fit.place import Place, Wire
from policies.fit.size import Room
from policies.node import Node, Stack
from policies.reading.amounts import whole_or
from policies.reading.containers import variable
from policies.reading.quantity import cpus_of, mib_of
from serve.settings import TEXT_VARIABLE

APP = "azure-native:app:ContainerApp"

CPUS = tuple(quarters / 4 for quarters in range(2, 17))
MIB_A_CPU = 2048
"""https://learn.microsoft.com/azure/container-apps/containers#allocations"""


@dataclass(frozen=True)
class ContainerApp(Place):
    kind: ClassVar[str] = "Container App"

    @property
    def container(self) -> Node:
        return next(each for each in self.resource.each("template.containers") if _serves(each))

    def variable(self, name: str) -> Node:
        return variable(self.container, name)

    @property
    def image(self) -> Node:
        return self.container.at("image")

    @property
    def cpus(self) -> float:
        return cpus_of(self.container.get("resources.cpu"))

    def rooms(self) -> Sequence[Room]:
        return [
            Room(
                "a replica of the app",
                self.container.at("resources").path,
                # Ray drops the fraction of a container's limit, and counts none where that is below one.
                float(int(self.cpus)),
                mib_of(self.container.get("resources.memory")),
                least=whole_or(self.resource.get("template.scale.minReplicas")),
                most=whole_or(self.resource.get("template.scale.maxReplicas"), 1),
            )
        ]

    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
        for cpus in CPUS:
            mib = cpus * MIB_A_CPU
            larger = replace(room, cpus=float(int(cpus)), memory_mib=mib)
            if cpus >= self.cpus and mib >= room.memory_mib and holds(actors, larger, self.object_store_mib(larger)):
                return [self.in_stack("azure.cpu", cpus)]
        return ()

    def ports(self) -> Iterator[Wire]:
        urn = self.resource.urn
        target = self.resource.at("configuration.ingress.targetPort")
        yield Wire("the app's target port", target.get(), target, urn)
        for probe in self.container.each("probes"):
            node = probe.at("httpGet.port")
            yield Wire(f"the {str(probe.get('type')).lower()} probe's port", node.get(), node, urn)

    def health(self) -> Iterator[Wire]:
        for probe in self.container.each("probes"):
            type_ = str(probe.get("type")).lower()
            # Liveness asks whether it is to be started anew, which a model that isn't there is no reason for.
            if type_ in ("startup", "readiness"):
                node = probe.at("httpGet.path")
                yield Wire(f"the {type_} probe", node.get(), node, self.resource.urn)


def container_apps(stack: Stack) -> Iterator[ContainerApp]:
    for each in stack.of_type(APP):
        if any(_serves(container) for container in each.each("template.containers")):
            yield ContainerApp(stack, each)


def _serves(container: Node) -> bool:
    return variable(container, TEXT_VARIABLE).value is not None
