"""EC2 instances, of a group or of Kubernetes; and what Kubernetes costs beside them."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import HOURS, SECONDS, Charge, NotEstimated, Surroundings, always, disks, number, one, spread
from policies.cost.estimators.containers import LOOKS_FOR_KEYS
from policies.node import Resource

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
RAY = "kubernetes:ray.io/v1:RayService"

DETAILED_METRICS = 7
"""Of an instance that is monitored by the minute."""


def group(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """An autoscaling group. One with several instance types has no one price."""
    mixed = resource.get("mixedInstancesPolicy") is not None
    link = "mixedInstancesPolicy" if mixed else "launchTemplate"
    template = one(around.stack.linked(resource, link, TEMPLATE), "launch template")
    least, most = number(resource, "minSize"), number(resource, "maxSize")
    spot = template.get("instanceMarketOptions.marketType") == "spot"
    if mixed:
        if list(resource.each("mixedInstancesPolicy.launchTemplate.overrides")):
            raise NotEstimated("it may be of several instance types")
        shares = resource.at("mixedInstancesPolicy.instancesDistribution")
        base = number(shares, "onDemandBaseCapacity", 0.0)
        # Those of which some are on demand are counted as if all were.
        spot = base == 0 and number(shares, "onDemandPercentageAboveBaseCapacity", 100.0) == 0
    yield _running(str(template.get("instanceType", "")), least, most, spot)
    yield from disks(template, least, most)
    if template.get("monitoring.enabled", False):
        metrics = f"{spread(least, most)} × {DETAILED_METRICS} detailed metrics"
        yield Charge(metrics, "metric", least * DETAILED_METRICS, most * DETAILED_METRICS)


def nodes(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """A managed node group."""
    template = one(around.stack.linked(resource, "launchTemplate", TEMPLATE), "launch template")
    types = [str(each.get()) for each in resource.each("instanceTypes")] or [str(template.get("instanceType", ""))]
    if len(types) != 1:
        raise NotEstimated(f"it may be of {len(types)} instance types")
    least, most = number(resource, "scalingConfig.minSize"), number(resource, "scalingConfig.maxSize")
    yield _running(types[0], least, most, resource.get("capacityType") == "SPOT")
    yield from disks(template, least, most)


def kubernetes(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """The control plane, and the looks for changed API keys of the Ray nodes in it."""
    yield always("the control plane", "eks.hour")
    for each in around.stack.of_type(RAY):
        if LOOKS_FOR_KEYS.search(str(each.get("spec"))):
            looks = around.usage.key_looks_per_second * SECONDS
            # The head looks too.
            workers = list(each.each("spec.rayClusterConfig.workerGroupSpecs"))
            least = 1 + sum(number(worker, "minReplicas", 0.0) for worker in workers)
            most = 1 + sum(number(worker, "maxReplicas", 1.0) for worker in workers)
            yield Charge(
                f"{spread(least, most)} × looks for changed API keys", "secret.call", least * looks, most * looks
            )


def service(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """A Kubernetes service: one that a cloud gives a load balancer isn't counted here."""
    if resource.get("spec.type", "ClusterIP") == "LoadBalancer":
        raise NotEstimated("the cluster makes a load balancer of it")
    return iter(())


def by_the_cluster(_resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    raise NotEstimated("the cluster makes a volume of it")


def _running(type_: str, least: float, most: float, spot: bool) -> Charge:
    if not type_:
        raise NotEstimated("its instance type is not given")
    said = f"{spread(least, most)} × {type_}{' (spot)' if spot else ''}"
    return Charge(said, f"ec2.{type_}", least * HOURS, most * HOURS, "ec2.spot" if spot else "")
