"""``load-balancers-speak-tls``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policies.node import Node
from policies.reading.links import comes_from
from policies.rule import Resource, RuleConfig, Severity, Stack, Violation, each_held, stack_rule

BALANCERS = ("aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer")
LISTENERS = ("aws:lb/listener:Listener", "aws:alb/listener:Listener")
CLASSIC = ("aws:elb/loadBalancer:LoadBalancer", "aws:elasticloadbalancing/loadBalancer:LoadBalancer")
RULES_OF_LISTENERS = ("aws:lb/listenerRule:ListenerRule", "aws:alb/listenerRule:ListenerRule")

MODERN = tuple(
    f"ELBSecurityPolicy-TLS13-1-{least}-{date}"
    for date in ("2021-06", "FIPS-2023-04", "PQ-2025-09", "FIPS-PQ-2025-09")
    for least in ("3", "2-Res", "2")
)
"""TLS 1.3, and of 1.2 no suite without forward secrecy.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html"""


class Tls(RuleConfig):
    """``ssl_policies``: those of AWS's security policies that a listener may have."""

    ssl_policies: tuple[str, ...] = MODERN


@stack_rule(
    "load-balancers-speak-tls",
    *LISTENERS,
    *CLASSIC,
    group="encryption in transit",
    severity=Severity.HIGH,
    remedy='protocol="HTTPS", ssl_policy="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"; of port 80, a redirect to HTTPS;'
    " or internal=True of the load balancer",
    source="https://docs.aws.amazon.com/elasticloadbalancing/latest/application/create-https-listener.html",
    config=Tls,
)
def load_balancers_speak_tls(stack: Stack, config: Tls) -> Iterator[Violation]:
    """A load balancer that the internet reaches speaks modern TLS, and sends whoever comes by HTTP on to HTTPS."""
    yield from each_held(stack.of_type(*LISTENERS, *CLASSIC), partial(_of_listener, stack, config))


def _of_listener(stack: Stack, config: Tls, listener: Resource) -> Iterator[Violation]:
    if listener.type in CLASSIC:
        yield from _of_classic(listener)
    elif listener.get("protocol") in ("HTTPS", "TLS"):
        yield from listener.expect("sslPolicy", *config.ssl_policies)
    else:
        plain = list(_plain(stack, listener))
        if plain and not _is_internal(stack, listener):
            yield from plain


def _of_classic(balancer: Resource) -> Iterator[Violation]:
    plain = list(_plain_of_classic(balancer))
    if plain and balancer.get("internal") is not True:
        yield from plain


def _plain_of_classic(balancer: Resource) -> Iterator[Violation]:
    """Its listeners are its own, and can't send on to HTTPS."""
    for listener in balancer.each("listeners"):
        protocol = listener.get("lbProtocol")
        if str(protocol).lower() not in ("https", "ssl"):
            yield listener.violation("lbProtocol", "https or ssl, or an internal load balancer", protocol)


def _plain(stack: Stack, listener: Resource) -> Iterator[Violation]:
    """What a listener without TLS does but send on to HTTPS."""
    yield from _stays(listener, "defaultActions")
    for each in stack.of_type(*RULES_OF_LISTENERS):
        if comes_from(stack, each, "listenerArn", listener, "arn"):
            yield from _stays(each, "actions")


def _stays(node: Node, path: str) -> Iterator[Violation]:
    actions = list(node.each(path))
    if not actions:
        yield node.violation(path, "a redirect to HTTPS", None)
    for action in actions:
        if action.get("type") != "redirect" or action.get("redirect.protocol") != "HTTPS":
            yield action.violation("", "HTTPS, or a redirect to it, or an internal load balancer", action.get("type"))


def _is_internal(stack: Stack, listener: Resource) -> bool:
    """One that isn't of the stack is taken for one that the internet reaches."""
    balancers = [
        each for each in stack.of_type(*BALANCERS) if comes_from(stack, listener, "loadBalancerArn", each, "arn")
    ]
    return bool(balancers) and all(each.get("internal") is True for each in balancers)
