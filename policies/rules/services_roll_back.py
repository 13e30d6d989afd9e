"""``services-roll-back``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

OTHERS = ("CODE_DEPLOY", "EXTERNAL")
"""Controllers that end a deployment in their own way: ECS takes no circuit breaker with them."""


def _break(inputs: MutableMapping[str, Any]) -> None:
    controller = inputs.get("deploymentController")
    if not isinstance(controller, dict) or controller.get("type") not in OTHERS:
        inputs["deploymentCircuitBreaker"] = {"enable": True, "rollback": True}


@rule(
    "services-roll-back",
    "aws:ecs/service:Service",
    group="compute",
    severity=Severity.MEDIUM,
    remedy="deployment_circuit_breaker=ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True)",
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html",
    fix=_break,
)
def services_roll_back(service: Resource) -> Iterable[Violation]:
    """A deployment whose tasks don't start goes back to the last one that did."""
    if service.get("deploymentController.type") not in OTHERS:
        yield from service.expect("deploymentCircuitBreaker.enable", True)
        yield from service.expect("deploymentCircuitBreaker.rollback", True)
