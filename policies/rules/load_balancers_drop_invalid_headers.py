"""``load-balancers-drop-invalid-headers``."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

OF_HTTP = (None, "application")


def _drop(inputs: MutableMapping[str, Any]) -> None:
    inputs["dropInvalidHeaderFields"] = True


@rule(
    "load-balancers-drop-invalid-headers",
    "aws:lb/loadBalancer:LoadBalancer",
    "aws:alb/loadBalancer:LoadBalancer",
    group="public access",
    severity=Severity.MEDIUM,
    remedy="drop_invalid_header_fields=True",
    source="https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
    fix=_drop,
)
def load_balancers_drop_invalid_headers(balancer: Resource) -> Iterator[Violation]:
    """A load balancer of HTTP drops headers that are none, since a server may read them as another request."""
    if balancer.get("loadBalancerType") in OF_HTTP:
        yield from balancer.expect("dropInvalidHeaderFields", True)
