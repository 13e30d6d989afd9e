"""What of a network costs: gateways, endpoints, addresses, load balancers."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import HOURS, Charge, NotEstimated, Surroundings, always, used
from policies.node import Resource

CONNECTIONS_PER_LCU = 25
"""New ones a second; an LCU is also a GB an hour. The larger of the two is billed."""


def nat(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    yield always("the gateway", "nat.hour")
    yield used(f"{around.usage.nat_gb:g} GB through it", "nat.gb", around.usage.nat_gb)


def address(_resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    yield always("a public address", "ipv4.hour")


def endpoint(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """One of the kind Gateway costs nothing."""
    kind = resource.get("vpcEndpointType", "Gateway")
    if kind == "Gateway":
        return
    if kind != "Interface":
        raise NotEstimated(f"an endpoint of the type {kind}")
    zones = len(list(resource.each("subnetIds")))
    if not zones:
        raise NotEstimated("its subnets are not given")
    yield always(f"addresses in its zones: {zones}", "endpoint.hour", zones * HOURS)
    yield used(f"{around.usage.endpoint_gb:g} GB through it", "endpoint.gb", around.usage.endpoint_gb)


def load_balancer(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Each request is counted as a new connection."""
    kind = resource.get("loadBalancerType", "application")
    if kind != "application":
        raise NotEstimated(f"a load balancer of the type {kind}")
    yield always("the load balancer", "alb.hour")
    if not resource.get("internal", False):
        zones = len([*resource.each("subnets"), *resource.each("subnetMappings")])
        if not zones:
            raise NotEstimated("its subnets are not given")
        yield always(f"public addresses: {zones}", "ipv4.hour", zones * HOURS)
    requests = around.usage.requests
    units = max(requests / CONNECTIONS_PER_LCU / 3600, requests * around.usage.request_kib / 1024**2)
    yield used(f"{requests:,.10g} requests", "alb.lcu", units)
