"""``targets-checked``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

HTTP = ("HTTP", "HTTPS")


@rule(
    "targets-checked",
    "aws:lb/targetGroup:TargetGroup",
    "aws:alb/targetGroup:TargetGroup",
    group="compute",
    severity=Severity.MEDIUM,
    remedy='health_check=TargetGroupHealthCheckArgs(path="/v2/health/ready", matcher="200")',
    source="https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html",
)
def targets_checked(group: Resource) -> Iterable[Violation]:
    """A load balancer asks its targets by a path of their own whether they are well."""
    # A function is there whenever it is called: its checks are off unless asked for.
    if group.get("targetType") == "lambda":
        return
    yield from group.require("healthCheck", "a health check", lambda check: isinstance(check, dict))
    yield from group.require("healthCheck.enabled", "not to be off", lambda enabled: enabled is not False)
    if group.get("healthCheck.protocol", group.get("protocol", HTTP[0])) in HTTP:
        yield from group.require("healthCheck.path", "a path of its own, such as /health", _is_path)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/")
