"""``azure-security-groups-not-open``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node
from policies.reading.networks import is_among, is_internet
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

GROUP = "azure-native:network:NetworkSecurityGroup"
RULE = "azure-native:network:SecurityRule"

INTERNET = ("*", "any", "internet")
"""As Azure calls it, beside its addresses."""

LONGEST_PORT = len("65535")


class OpenPorts(RuleConfig):
    """``ports``: those that the internet may reach; by default HTTPS, and where Container Apps takes it.

    https://learn.microsoft.com/azure/container-apps/firewall-integration
    """

    ports: tuple[int, ...] = (443, 31443)


@rule(
    "azure-security-groups-not-open",
    GROUP,
    RULE,
    group="public access",
    severity=Severity.CRITICAL,
    remedy='source_address_prefix="VirtualNetwork", or the caller\'s network',
    source="https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview",
    config=OpenPorts,
)
def azure_security_groups_not_open(given: Resource, config: OpenPorts) -> Iterator[Violation]:
    """Azure's network security groups let the internet in at the ports of HTTPS alone."""
    for each in given.each("securityRules") if given.type == GROUP else [given]:
        if _lower(each.get("direction")) == "inbound" and _lower(each.get("access")) == "allow":
            yield from _open(each, config)


def _open(each: Node, config: OpenPorts) -> Iterator[Violation]:
    sources = [*each.each("sourceAddressPrefix"), *each.each("sourceAddressPrefixes")]
    if not any(_lower(source.get()) in INTERNET or is_internet(source.get()) for source in sources):
        return
    expected = f"the internet at no port but {', '.join(str(port) for port in config.ports)}"
    ranges = [*each.each("destinationPortRange"), *each.each("destinationPortRanges")]
    if not ranges:
        yield each.violation("destinationPortRange", expected, None)
    for ports in ranges:
        first, _, last = str(ports.get()).partition("-")
        if not is_among(_port(first), _port(last or first), config.ports):
            yield ports.violation("", expected, ports.get())


def _port(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= LONGEST_PORT else None


def _lower(value: object) -> str:
    return str(value).lower()
