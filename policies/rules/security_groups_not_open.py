"""``security-groups-not-open``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node
from policies.reading.networks import is_among, is_internet
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

GROUPS = ("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
ANY_WAY_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"

SOURCES = ("cidrBlocks", "ipv6CidrBlocks", "cidrIpv4", "cidrIpv6")
WITH_PORTS = ("tcp", "udp", "6", "17")
"""Protocols of which two numbers are ports. All protocols at once have none."""


class OpenPorts(RuleConfig):
    """``ports``: those that the internet may reach."""

    ports: tuple[int, ...] = (80, 443)


@rule(
    "security-groups-not-open",
    *GROUPS,
    ANY_WAY_RULE,
    INGRESS_RULE,
    group="public access",
    severity=Severity.CRITICAL,
    remedy="security_groups=[the caller's group], or cidr_blocks=[the network's]",
    source="https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html",
    config=OpenPorts,
)
def security_groups_not_open(given: Resource, config: OpenPorts) -> Iterator[Violation]:
    """Security groups let the internet in at the web's ports alone."""
    for each in _ingress(given):
        for source in [source for path in SOURCES for source in each.each(path)]:
            if is_internet(source.get()) and not _is_allowed(each, config):
                ports = ", ".join(str(port) for port in config.ports)
                yield source.violation("", f"the internet at no port but {ports}", _said(each))


def _ingress(given: Resource) -> Iterator[Node]:
    if given.type in GROUPS:
        yield from given.each("ingress")
    elif given.type == INGRESS_RULE or given.get("type") == "ingress":
        yield given


def _is_allowed(each: Node, config: OpenPorts) -> bool:
    return _protocol(each) in WITH_PORTS and is_among(each.get("fromPort"), each.get("toPort"), config.ports)


def _protocol(each: Node) -> str:
    return str(each.get("protocol") or each.get("ipProtocol")).lower()


def _said(each: Node) -> str:
    return f"{_protocol(each)} {each.at('fromPort').value} to {each.at('toPort').value}"
