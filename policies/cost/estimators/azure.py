"""Azure: containers, and what they need."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import DAYS, HOURS, SECONDS, Charge, NotEstimated, Surroundings, always, number, spread, used
from policies.node import Node, Resource
from policies.reading.quantity import quantity

GIB = 2**30
SKUS = ("Basic", "Standard")
ADDRESSES = 2
"""Of an environment in a network of one's own: for what comes in, and for what goes out."""


def app(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Replicas that wait are counted as active ones: Ray works in the background, and probes come every few seconds."""
    containers = list(resource.each("template.containers"))
    cpus = sum(_quantity(each, "resources.cpu") for each in containers)
    memory = sum(_quantity(each, "resources.memory") for each in containers) / GIB
    least = number(resource, "template.scale.minReplicas", 0.0)
    most = number(resource, "template.scale.maxReplicas", 10.0)
    many = spread(least, most)
    yield Charge(f"{many} × {cpus:g} vCPU", "container-apps.vcpu", least * cpus * SECONDS, most * cpus * SECONDS)
    yield Charge(f"{many} × {memory:g} GiB", "container-apps.gib", least * memory * SECONDS, most * memory * SECONDS)
    yield used(f"{around.usage.requests:,.10g} requests", "container-apps.request", around.usage.requests)


def _quantity(container: Node, path: str) -> float:
    value = container.get(path)
    found = quantity(value)
    if found is None:
        raise NotEstimated(f"{path} is {'not given' if value is None else f'{value!r}, expected a quantity'}")
    return found


def environment(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """Azure makes public addresses beside one that lies in a network of one's own."""
    for each in resource.each("workloadProfiles"):
        if each.get("workloadProfileType") != "Consumption":
            raise NotEstimated(f"a workload profile of the type {each.get('workloadProfileType')}")
    if resource.get("vnetConfiguration") is not None:
        yield always(f"{ADDRESSES} public addresses", "public-ip.hour", ADDRESSES * HOURS)


def instance(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """One that ends and is not started again costs nothing then; at most it runs all month."""
    containers = list(resource.each("containers"))
    if resource.get("osType") != "Linux" or resource.get("sku", "Standard") != "Standard":
        raise NotEstimated(f"{resource.get('osType')} of the SKU {resource.get('sku', 'Standard')}")
    cpus = sum(number(each, "resources.requests.cpu") for each in containers)
    memory = sum(number(each, "resources.requests.memoryInGB") for each in containers)
    least = 0.0 if resource.get("restartPolicy", "Always") == "Never" else HOURS
    yield Charge(f"{cpus:g} vCPU", "container-instances.vcpu", cpus * least, cpus * HOURS)
    yield Charge(f"{memory:g} GB of memory", "container-instances.gb", memory * least, memory * HOURS)


def registry(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    sku = resource.get("sku.name")
    if sku not in SKUS:
        raise NotEstimated(f"a registry of the SKU {sku}")
    yield always(f"the registry ({sku})", f"registry.{sku.lower()}", DAYS)


def vault(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    if resource.get("properties.sku.name") != "standard":
        raise NotEstimated(f"a vault of the SKU {resource.get('properties.sku.name')}")
    yield used(f"{around.usage.key_requests:,.10g} operations", "key-vault.operation", around.usage.key_requests)


def workspace(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Not more than its daily cap lets in."""
    if resource.get("sku.name") != "PerGB2018":
        raise NotEstimated(f"a workspace of the SKU {resource.get('sku.name')}")
    cap = number(resource, "workspaceCapping.dailyQuotaGb", -1.0)
    size = around.usage.log_gb if cap < 0 else min(around.usage.log_gb, cap * DAYS)
    yield used(f"{size:g} GB of logs", "log-analytics.gb", size)
