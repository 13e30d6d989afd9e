"""ECS: what runs on Fargate. Tasks on EC2 cost what their instances cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from policies.cost.charge import HOURS, SECONDS, Charge, NotEstimated, Surroundings, number, one, spread
from policies.node import Resource
from policies.reading.containers import TASK
from policies.reading.fargate import UNITS, cpu_units, memory_mib
from policies.reading.states import MACHINE

SERVICE = "aws:ecs/service:Service"
CLUSTERS = ("aws:ecs/cluster:Cluster", "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders")
"""What may say where a service runs that doesn't itself."""
TARGET = "aws:appautoscaling/target:Target"

INCLUDED_DISK = 20.0
"""GiB that each task has for nothing."""

LOOKS_FOR_KEYS = re.compile(r"""keys[\\"']*\s*:\s*[\\"']*secretsmanager:""")
"""In the settings of a gateway whose API keys are in Secrets Manager."""


def service(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Its tasks, between the least and the most that its autoscaling allows."""
    task = one(around.stack.linked(resource, "taskDefinition", TASK), "task definition")
    least, most = tasks(resource, around)
    many = spread(least, most)
    providers = _providers(resource, task, around)
    if any(each.startswith("FARGATE") for each in providers):
        # Tasks of which some may be on demand are counted so.
        share = "fargate.spot" if all(each == "FARGATE_SPOT" for each in providers) else ""
        for what, key, units in _size(task):
            yield Charge(f"{many} × {what}", key, least * units * HOURS, most * units * HOURS, share)
        if resource.get("networkConfiguration.assignPublicIp", False):
            yield Charge(f"{many} public addresses", "ipv4.hour", least * HOURS, most * HOURS)
    if LOOKS_FOR_KEYS.search(str(task.get("containerDefinitions", ""))):
        looks = around.usage.key_looks_per_second * SECONDS
        yield Charge(f"{many} × looks for changed API keys", "secret.call", least * looks, most * looks)


def job(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """A task that no service runs, but a pipeline."""
    machines = around.stack.linking(resource, "definition", MACHINE)
    if around.stack.linking(resource, "taskDefinition", SERVICE) or not machines:
        return
    hours = around.usage.pipeline_runs * around.usage.pipeline_hours
    for what, key, units in _size(resource):
        yield Charge(f"{hours:g} h of {what}", key, 0.0, units * hours)


def cluster(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Container Insights: metrics of the cluster, and of each service and task definition."""
    settings = {str(each.get("name")): each.get("value") for each in resource.each("settings")}
    kind = settings.get("containerInsights", "disabled")
    if kind == "disabled":
        return
    if kind != "enabled":
        raise NotEstimated(f"Container Insights is {kind}")
    services = around.stack.linking(resource, "cluster", SERVICE)
    definitions = {each.urn for found in services for each in around.stack.linked(found, "taskDefinition", TASK)}
    each = around.usage.insights_metrics
    least, most = each * (1 + len(services)), each * (1 + len(services) + len(definitions))
    yield Charge(f"Container Insights: {spread(least, most)} metrics", "metric", least, most)


def tasks(resource: Resource, around: Surroundings) -> tuple[float, float]:
    """The least and the most tasks of a service."""
    targets = around.stack.linking(resource, "resourceId", TARGET)
    if not targets:
        count = number(resource, "desiredCount", 1.0)
        return count, count
    target = one(targets, "autoscaling targets")
    return number(target, "minCapacity"), number(target, "maxCapacity")


def _providers(resource: Resource, task: Resource, around: Surroundings) -> list[str]:
    """Where its tasks run: its own word, or else its cluster's, or else its task's.

    Raises:
        NotEstimated: none of them says.
    """
    own = _strategy(resource, "capacityProviderStrategies")
    if own:
        return own
    launch = resource.get("launchType")
    if launch is not None:
        return [str(launch)]
    by_default = _of_cluster(resource, around)
    if by_default:
        return by_default
    compatible = [str(each.get()) for each in task.each("requiresCompatibilities")]
    if compatible:
        # One that can run on either is counted as what costs more than nothing.
        return ["FARGATE"] if "FARGATE" in compatible else compatible
    raise NotEstimated("neither it nor its cluster says whether it runs on Fargate")


def _of_cluster(resource: Resource, around: Surroundings) -> list[str]:
    """The default of the cluster, which a resource beside it may hold."""
    clusters = around.stack.linked(resource, "cluster", *CLUSTERS)
    beside = [found for each in clusters for found in around.stack.linking(each, "clusterName", CLUSTERS[1])]
    found = {each.urn: each for each in (*clusters, *beside)}.values()
    return [name for each in found for name in _strategy(each, "defaultCapacityProviderStrategies")]


def _strategy(resource: Resource, path: str) -> list[str]:
    return [str(each.get("capacityProvider")) for each in resource.each(path)]


def _size(task: Resource) -> Iterator[tuple[str, str, float]]:
    """What of a task is billed by the hour, the key of its price, and how much there is."""
    arm = "arm." if task.get("runtimePlatform.cpuArchitecture") == "ARM64" else ""
    if task.get("runtimePlatform.operatingSystemFamily", "LINUX") != "LINUX":
        raise NotEstimated("its tasks are not of Linux")
    vcpus, memory = _units(task, "cpu", cpu_units) / UNITS, _units(task, "memory", memory_mib) / UNITS
    yield f"{vcpus:g} vCPU", f"fargate.{arm}vcpu", vcpus
    yield f"{memory:g} GB of memory", f"fargate.{arm}gb", memory
    disk = number(task, "ephemeralStorage.sizeInGib", INCLUDED_DISK) - INCLUDED_DISK
    if disk > 0:
        yield f"{disk:g} GB of disk", "fargate.disk", disk


def _units(task: Resource, path: str, read: Callable[[Any], int | None]) -> int:
    value = task.get(path)
    found = read(value)
    if found is None:
        raise NotEstimated(f"{path} is {'not given' if value is None else f'{value!r}, expected a size of Fargate'}")
    return found
