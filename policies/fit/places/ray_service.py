"""A RayService of KubeRay: pods are Ray's nodes, and lie on node groups of EKS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import yaml

from policies.fit.demand import Actor, gpu_memory_of_each, memory
from policies.fit.footprint import MOST_OF_MEMORY
from policies.fit.instances import INSTANCES, Instance, smallest
from policies.fit.misfit import Change
from policies.fit.nodes import on_eks
from policies.fit.place import Place, Wire
from policies.fit.places.ecs_instances import has_such_gpus
from policies.fit.places.ecs_task import ROLE
from policies.fit.size import Hosts, Room, Size
from policies.node import Node, Resource, Stack
from policies.reading.amounts import whole_or
from policies.reading.containers import variable
from policies.reading.quantity import cpus_of, mib_of

SERVICE = "kubernetes:ray.io/v1:RayService"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
IDENTITY = "aws:eks/podIdentityAssociation:PodIdentityAssociation"

CLUSTER = "spec.rayClusterConfig"
GPU = "nvidia.com/gpu"
LARGEST_POD = 192


@dataclass(frozen=True)
class RayService(Place):
    kind: ClassVar[str] = "RayService"
    is_cluster: ClassVar[bool] = True
    has_hosts: ClassVar[bool] = True

    @property
    def groups(self) -> Sequence[Node]:
        return list(self.resource.each(f"{CLUSTER}.workerGroupSpecs"))

    @property
    def head(self) -> Node:
        return self.resource.at(f"{CLUSTER}.headGroupSpec")

    def variable(self, name: str) -> Node:
        for group in (*self.groups, self.head):
            found = variable(_container(group), name)
            if found.value is not None:
                return found
        return Node(None, CLUSTER, self.resource.urn)

    @property
    def image(self) -> Node:
        return _container(self.groups[0] if self.groups else self.head).at("image")

    def images(self) -> Iterator[tuple[Node, bool]]:
        yield _container(self.head).at("image"), False
        for group in self.groups:
            yield _container(group).at("image"), self._workers(group).gpus > 0

    def rooms(self) -> Sequence[Room]:
        return [self._head(), *map(self._workers, self.groups)]

    def _head(self) -> Room:
        beside = Size()
        if self.resource.get(f"{CLUSTER}.enableInTreeAutoscaling"):
            beside = _size(self.resource.at(f"{CLUSTER}.autoscalerOptions.resources"))
        room = self._room(self.head, "the head's pod", beside)
        return replace(room, serves=False, head=True)

    def _workers(self, group: Node) -> Room:
        room = self._room(group, f"a pod of group {group.get('groupName', '')}", Size())
        least = whole_or(group.get("minReplicas"))
        return replace(room, least=least, most=whole_or(group.get("maxReplicas"), least), head=False)

    def _room(self, group: Node, name: str, beside: Size) -> Room:
        size = _size(_container(group).at("resources"))
        told = group.get("rayStartParams.num-cpus")
        cpus = float(whole_or(told)) if told is not None else float(int(size.cpus))
        gpus = round(size.gpus)
        return Room(
            name, group.path, cpus, size.memory_mib, gpus, asks=size + beside, hosts=self._hosts(group, gpus > 0)
        )

    def _hosts(self, group: Node, gpus: bool) -> Hosts | None:
        """The first node group that takes the pods."""
        pod = group.at("template.spec")
        selector = pod.get("nodeSelector", {})
        tolerated = [each.value for each in pod.each("tolerations") if isinstance(each.value, dict)]
        for nodes in self.stack.of_type(NODE_GROUP):
            name = str(next((each.get() for each in nodes.each("instanceTypes")), ""))
            found = INSTANCES.get(name)
            labels = nodes.get("labels", {})
            taints = [each.value for each in nodes.each("taints") if isinstance(each.value, dict)]
            has = found is None or found.gpus > 0 or not gpus
            if has and _selects(selector, labels) and all(_tolerates(tolerated, taint) for taint in taints):
                most = whole_or(nodes.get("scalingConfig.maxSize"))
                setting = "eks.gpus" if taints else "eks.nodes"
                label = f"node group {nodes.get('nodeGroupName', nodes.name)}"
                return Hosts(label, setting, name, found, most, nodes.urn, on_eks(found) if found else Size())
        return None

    def object_store_mib(self, room: Room) -> float:
        for group in (*self.groups, self.head):
            told = whole_or(group.get("rayStartParams.object-store-memory"))
            if told:
                return told / 2**20
        return super().object_store_mib(room)

    def roles(self) -> Sequence[Resource]:
        """Of the pods' service account."""
        account = next((each.get("template.spec.serviceAccountName") for each in self.groups), None)
        namespace = self.resource.get("metadata.namespace")
        return [
            role
            for each in self.stack.of_type(IDENTITY)
            if each.get("serviceAccount") == account and each.get("namespace") == namespace
            for role in self.stack.linked(each, "roleArn", ROLE)
        ]

    def ports(self) -> Iterator[Wire]:
        urn = self.resource.urn
        for group in self.groups:
            name = group.get("groupName", "")
            for port in _container(group).each("ports"):
                if port.get("name") == "serve":
                    node = port.at("containerPort")
                    yield Wire(f"the container's port in group {name}", node.get(), node, urn)
            probe = _container(group).at("readinessProbe.httpGet.port")
            yield Wire(f"the readiness probe's port in group {name}", probe.get(), probe, urn)
        config = self.resource.at("spec.serveConfigV2")
        yield Wire("http_options.port of serveConfigV2", _port_of(config.get(default="")), config, urn)

    def health(self) -> Iterator[Wire]:
        for group in self.groups:
            node = _container(group).at("readinessProbe.httpGet.path")
            yield Wire(
                f"the readiness probe in group {group.get('groupName', '')}", node.get(), node, self.resource.urn
            )

    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
        """The program gives a pod the CPUs of its largest replica, and memory for each of them."""
        if room.hosts is None:
            return ()
        if not actors:
            return self._on_instance(room, room.asks, 0, frozenset()) or ()
        for cpus in range(max(1, int(room.cpus)), LARGEST_POD):
            changes = self._with_cpus(room, actors, cpus)
            if changes is not None:
                return changes
        return ()

    def _with_cpus(self, room: Room, actors: Sequence[Actor], cpus: int) -> Sequence[Change] | None:
        """The changes with pods of so many CPUs; None where their memory isn't enough, or nothing has room for them."""
        each_mib = room.memory_mib / max(room.cpus, 1)
        largest = max(actors, key=lambda each: each.memory_mib)
        grows = cpus > room.cpus
        pod = replace(room, cpus=float(cpus), memory_mib=cpus * each_mib)
        found = [replace(each, cpus=float(cpus)) if grows and each is largest else each for each in actors]
        taken = memory(found, pod, self.object_store_mib(pod))
        if taken > MOST_OF_MEMORY * pod.memory_mib or any(each.cpus > cpus for each in found):
            return None
        asks = room.asks + Size(cpus - room.cpus, pod.memory_mib - room.memory_mib)
        gpu_memory = max(gpu_memory_of_each(each) for each in actors)
        capabilities = frozenset(each.capability for each in actors if each.capability is not None)
        changes = self._on_instance(room, asks, gpu_memory, capabilities)
        if changes is None:
            return None
        return [self.in_serving(f"{largest.setting}.cpus", cpus), *changes] if grows else changes

    def _on_instance(
        self, room: Room, asks: Size, gpu_memory: float, capabilities: frozenset[str]
    ) -> Sequence[Change] | None:
        """Another type of instance, where the pods need one; None where there is no such."""

        def fits(each: Instance) -> bool:
            return on_eks(each).holds(asks) and (not room.gpus or has_such_gpus(each, gpu_memory, capabilities))

        hosts = room.hosts
        instance = smallest(fits, hosts.instance if hosts else None)
        if hosts is None or instance is None:
            return None
        if hosts.instance is not None and fits(hosts.instance):
            return []
        return [self.in_stack(f"{hosts.setting}.instance_type", instance.name)]


def ray_services(stack: Stack) -> Iterator[RayService]:
    for each in stack.of_type(SERVICE):
        yield RayService(stack, each)


def _container(group: Node) -> Node:
    """Ray's own is the first."""
    return group.at("template.spec.containers[0]")


def _size(resources: Node) -> Size:
    asked = resources.at("requests") if resources.at("requests").value is not None else resources.at("limits")
    gpus = asked.value.get(GPU) if isinstance(asked.value, dict) else None
    return Size(cpus_of(asked.get("cpu")), mib_of(asked.get("memory")), whole_or(gpus))


def _selects(selector: Any, labels: Any) -> bool:
    if not isinstance(selector, dict) or not isinstance(labels, dict):
        return not selector
    return all(labels.get(key) == value for key, value in selector.items())


def _tolerates(tolerations: Sequence[dict[str, Any]], taint: dict[str, Any]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    effect = str(taint.get("effect", "")).replace("_", "").lower()
    if effect == "prefernoschedule":
        return True
    return any(
        each.get("key") in (None, taint.get("key"))
        and (each.get("operator") == "Exists" or each.get("value") == taint.get("value"))
        and str(each.get("effect") or effect).lower() == effect
        for each in tolerations
    )


def _port_of(config: Any) -> Any:
    """Of what ``serve deploy`` takes; Serve's own port where it names none."""
    try:
        found = yaml.safe_load(config) if isinstance(config, str) else config
    except yaml.YAMLError:
        return None
    options = found.get("http_options") if isinstance(found, dict) else None
    return options.get("port", 8000) if isinstance(options, dict) else 8000
