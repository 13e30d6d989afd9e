"""``multi-zone``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from policies.reading.instances import GROUP, NODE_GROUP
from policies.rule import Resource, RuleConfig, Severity, Stack, Violation, each_held, stack_rule

SUBNET = "aws:ec2/subnet:Subnet"
DATABASE = "aws:rds/instance:Instance"

SERVICE = "aws:ecs/service:Service"

SUBNETS: Mapping[str, tuple[str, ...]] = {
    SERVICE: ("networkConfiguration.subnets",),
    GROUP: ("vpcZoneIdentifiers", "availabilityZones"),
    "aws:eks/cluster:Cluster": ("vpcConfig.subnetIds",),
    NODE_GROUP: ("subnetIds",),
    "aws:lb/loadBalancer:LoadBalancer": ("subnets", "subnetMappings"),
    "aws:alb/loadBalancer:LoadBalancer": ("subnets", "subnetMappings"),
}
"""Where each names its subnets, in one way or another; or its zones."""


class Zones(RuleConfig):
    """``database``: there is a second one in another zone, ready to take over."""

    zones: int = 2
    database: bool = True


@stack_rule(
    "multi-zone",
    *SUBNETS,
    DATABASE,
    SUBNET,
    group="operations",
    severity=Severity.MEDIUM,
    remedy="network.zones and tracking.multi_az of Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/wellarchitected/latest/reliability-pillar/use-fault-isolation-to-protect-your-workload.html",
    config=Zones,
)
def multi_zone(stack: Stack, config: Zones) -> Iterable[Violation]:
    """What serves may run in several zones, and the database has a second one in another."""
    seen = stack.of_type(*SUBNETS, DATABASE) if config.database else stack.of_type(*SUBNETS)
    return each_held(seen, partial(_of, stack, config))


def _of(stack: Stack, config: Zones, each: Resource) -> Iterable[Violation]:
    if each.type == DATABASE:
        yield from each.expect("multiAz", True)
        return
    if _has_no_network(each):
        return
    paths = SUBNETS[each.type]
    path = next((path for path in paths if each.at(path).value), paths[0])
    zones = _zones(stack, each, path)
    if zones < config.zones:
        yield each.violation(path, f"subnets in {config.zones} zones or more", str(zones))


def _zones(stack: Stack, resource: Resource, path: str) -> int:
    """In how many zones; of subnets that aren't the stack's, each counts for one."""
    if path == "availabilityZones":
        return len({str(each.get()) for each in resource.each(path)})
    given = len(list(resource.each(path)))
    subnets = stack.linked(resource, path.partition(".")[0], SUBNET)
    zones = {_zone(each) for each in subnets}
    return min(given, len(zones)) if len(subnets) >= given else given


def _zone(subnet: Resource) -> str:
    """Its zone by name or else by ID; of one that names none, AWS picks it, and it counts for one."""
    return str(subnet.get("availabilityZone") or subnet.get("availabilityZoneId") or subnet.urn)


def _has_no_network(resource: Resource) -> bool:
    """A service whose tasks have no network of their own is where its instances are."""
    return resource.type == SERVICE and resource.at("networkConfiguration").value is None
