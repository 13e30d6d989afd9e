"""What a role of AWS may do, by the policies that the stack gives it.

Policies of AWS's own are not read: what only they allow counts as not allowed. Of conditions ``kms:ViaService`` and
``bedrock:InferenceProfileArn`` alone are held; a denial counts where it has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from policies.node import Node, Resource, Stack
from policies.reading.iam import documents, listed
from policies.reading.statement import covers, matches

INLINE = "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
MANAGED = "aws:iam/policy:Policy"

Target = Callable[[str], bool]
"""Whether a statement's resource, which may have ``*`` and ``?``, covers what is asked for."""


@dataclass(frozen=True)
class Grants:
    """``statements``: of all of a role's policies."""

    statements: tuple[Node, ...]

    def allows(self, action: str, target: Target, via: str = "") -> bool:
        """``via``: the service through which a key is used, or ``inference-profile/ID`` for a model of Bedrock."""
        found = self._about(action, target)
        allowed = any(each.get("Effect") == "Allow" and _is_via(each, via) for each in found)
        return allowed and not self.denies(action, target)

    def denies(self, action: str, target: Target) -> bool:
        """What no other statement can allow."""
        found = self._about(action, target)
        return any(each.get("Effect") == "Deny" and not each.get("Condition") for each in found)

    def _about(self, action: str, target: Target) -> list[Node]:
        return [each for each in self.statements if covers(each, action) and _reaches(each, target)]


def grants(stack: Stack, role: Resource) -> Grants:
    """Raises:
    UnknownValueError: one of the policies isn't known.
    """
    return Grants(tuple(statement for each in _holders(stack, role) for statement in _statements(each)))


def _holders(stack: Stack, role: Resource) -> Iterator[Resource]:
    yield role
    yield from stack.linking(role, "role", INLINE)
    for attachment in stack.linking(role, "role", ATTACHMENT):
        yield from stack.linked(attachment, "policyArn", MANAGED)


def _statements(holder: Resource) -> Iterator[Node]:
    for document in documents(holder):
        if not document.is_trust:
            yield from document.statements()


def _reaches(statement: Node, target: Target) -> bool:
    return any(target(str(each)) for each in listed(statement.get("Resource", [])))


def _is_via(statement: Node, via: str) -> bool:
    conditions = statement.get("Condition", {})
    named: dict[str, list[str]] = {}
    for keys in conditions.values() if isinstance(conditions, dict) else ():
        for key, value in _items(keys):
            named.setdefault(key.lower(), []).extend(str(one) for one in listed(value))
    services, profiles = named.get("kms:viaservice", ()), named.get("bedrock:inferenceprofilearn", ())
    # What may be asked through a profile alone, may not be asked without one.
    through = not profiles or any(matches(each.split(":", 5)[-1], via, case=True) for each in profiles)
    return through and (not services or not via or any(each.split(".")[0] == via for each in services))


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), each) for key, each in value.items())


def of(service: str, *resources: str) -> Target:
    """One of these, by the last part of their ARNs: account and region aren't known where they are asked for."""

    def covered(pattern: str) -> bool:
        parts = pattern.split(":", 5)
        if len(parts) < 6:
            return pattern == "*"
        return matches(parts[2], service, case=True) and any(matches(parts[5], each, case=True) for each in resources)

    return covered


def secret(name: str) -> Target:
    """A secret's ARN has six characters more than its name, which AWS chooses."""
    anew = of("secretsmanager", f"secret:{name}", f"secret:{name}-AbCdEf")

    def covered(pattern: str) -> bool:
        made = re.fullmatch(rf"arn:[^:]*:secretsmanager:[^:]*:[^:]*:secret:{re.escape(name)}-[A-Za-z0-9]{{6}}", pattern)
        return made is not None or anew(pattern)

    return covered


def arn(whole: str) -> Target:
    return lambda pattern: matches(pattern, whole, case=True)
