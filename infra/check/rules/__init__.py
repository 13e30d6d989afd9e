"""The rules, one a file: each is a function of a recording that yields what it finds."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Mapping

from infra.check.finding import Finding
from infra.check.record import Recording
from infra.check.rules.arns import arns
from infra.check.rules.containers import containers
from infra.check.rules.exports import exports
from infra.check.rules.outputs_in_text import outputs_in_text
from infra.check.rules.plain_secrets import plain_secrets
from infra.check.rules.policy_parliament import policy_parliament
from infra.check.rules.state_machines import state_machines

Rule = Callable[[Recording], Iterable[Finding]]

RULES: Mapping[str, Rule] = {
    "policy_parliament": policy_parliament,
    "containers": containers,
    "state_machines": state_machines,
    "arns": arns,
    "plain_secrets": plain_secrets,
    "exports": exports,
    "outputs_in_text": outputs_in_text,
}


NEEDS: Mapping[str, tuple[str, ...]] = {
    "policy_parliament": ("parliament",),
    "containers": ("botocore",),
    "state_machines": ("moto",),
}
"""Rule → the packages that it can't do without."""


def without() -> Mapping[str, str]:
    """Rule → why it can't be held here."""
    missing = {
        rule: [name for name in packages if importlib.util.find_spec(name) is None] for rule, packages in NEEDS.items()
    }
    return {rule: f"{', '.join(names)} is not installed" for rule, names in missing.items() if names}


def findings(recording: Recording, rules: Mapping[str, Rule] = RULES) -> tuple[Finding, ...]:
    """What all of them find, each with its rule's name."""
    return tuple(dataclasses.replace(found, rule=name) for name, rule in rules.items() for found in rule(recording))
