"""``azure-containers-not-open``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Violation, rule


@rule(
    "azure-containers-not-open",
    "azure-native:containerinstance:ContainerGroup",
    group="public access",
    severity=Severity.HIGH,
    remedy="subnet_ids=[ContainerGroupSubnetIdArgs(id=subnet.id)], and no public ip_address",
    source="https://learn.microsoft.com/azure/container-instances/container-instances-virtual-network-concepts",
)
def azure_containers_not_open(group: Resource) -> Iterator[Violation]:
    """Container instances are in a subnet of ours, and have no public address."""
    subnets = list(group.each("subnetIds"))
    if not subnets:
        yield group.violation("subnetIds", "a subnet", None)
    if group.at("ipAddress").get() is not None:
        yield from group.expect("ipAddress.type", "Private")
