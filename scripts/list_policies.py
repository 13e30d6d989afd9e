"""The policy pack's rules as the table of docs/policies.md: ``python -m scripts.list_policies``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console import say
from policies.rules import RULES

GROUPS = (
    "encryption at rest",
    "encryption in transit",
    "public access",
    "identity",
    "images",
    "compute",
    "pipelines and functions",
    "operations",
    "cost and fit",
)


def lines() -> Iterator[str]:
    """A Markdown table a group."""
    for group in GROUPS:
        yield f"### {group.capitalize()}"
        yield "| rule | what must be so | severity | settings |"
        yield "|---|---|---|---|"
        for name, rule in sorted(RULES.items()):
            if rule.group == group:
                mends = ", mends" if rule.fix else ""
                yield f"| `{name}` | {rule.description} | {rule.severity.value}{mends} | {_settings(name)} |"


def _settings(name: str) -> str:
    config = RULES[name].config
    fields = config.model_fields.items() if config else ()
    return ", ".join(f"`{key}` ({_shown(field.get_default(call_default_factory=True))})" for key, field in fields)


def _shown(default: Any) -> str:
    if isinstance(default, tuple | list | set | frozenset):
        return ", ".join(map(str, default)) or "none"
    return str(default).lower() if isinstance(default, bool) else str(default or "none")


if __name__ == "__main__":
    for line in lines():
        say(line)
