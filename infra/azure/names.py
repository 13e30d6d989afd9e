"""Names of Azure's resources: each kind has limits of its own, and some are one name for all of Azure.

Errors::

    UserError
    └── NameNotAllowed    the project's and the stack's names make one that Azure refuses
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from console import UserError
from infra.naming import Naming

DIGEST_CHARACTERS = 8

Kind = Literal[
    "resource_group", "network", "security_group", "workspace", "identity", "registry", "vault", "environment", "app",
    "container_group",
]  # fmt: skip


class NameNotAllowed(UserError):
    """Azure refuses a name. Raw: ``(kind, name, expected)``."""

    def __init__(self, kind: str, name: str, expected: str) -> None:
        super().__init__(kind, name, expected)

    def __str__(self) -> str:
        kind, name, expected = self.args
        return f"Azure takes no {kind} named {name!r}, expected {expected}: name the stack otherwise"


@dataclass(frozen=True)
class Rule:
    """``everywhere``: no two in all of Azure have the same, so the subscription's digest is part of it."""

    least: int
    most: int
    pattern: str
    separator: str = "-"
    everywhere: bool = False


WORDS = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

RULES: dict[Kind, Rule] = {
    "resource_group": Rule(1, 90, WORDS),
    "network": Rule(2, 64, WORDS),
    "security_group": Rule(1, 80, WORDS),
    "workspace": Rule(4, 63, WORDS),
    "identity": Rule(3, 128, WORDS),
    "registry": Rule(5, 50, "[a-z0-9]+", separator="", everywhere=True),
    "vault": Rule(3, 24, WORDS, everywhere=True),
    "environment": Rule(2, 32, WORDS),
    "app": Rule(2, 32, WORDS),
    "container_group": Rule(1, 63, WORDS),
}
"""Our own pattern within Azure's:
https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules"""


def name_of(kind: Kind, naming: Naming, subscription_id: str, *parts: str) -> str:
    """``mtd-dev-part``, as this kind of resource may be named.

    Raises:
        NameNotAllowed: too long, too short, or with a character that the kind does not take.
    """
    rule = RULES[kind]
    words = [naming.prefix, *parts]
    if rule.everywhere:
        words.append(hashlib.sha256(subscription_id.encode()).hexdigest()[:DIGEST_CHARACTERS])
    name = rule.separator.join(words)
    if not rule.separator:
        name = name.replace("-", "")
    if not (rule.least <= len(name) <= rule.most and re.fullmatch(rule.pattern, name)):
        letters = "lower-case letters and digits" + (", and single hyphens between them" if rule.separator else "")
        raise NameNotAllowed(kind.replace("_", " "), name, f"{rule.least} to {rule.most} {letters}")
    return name
