"""What reads as a secret that anybody may read. What is told of it is never the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from policies.reading.walk import document, last, nodes

NAME = re.compile(
    r"(pass(word|wd|phrase)|secret|(?<!max)(?<!total)token|(api|private|access|encryption|signing)_?key|credential|"
    r"webhook|connection_?string|(?:^|_)(?:pass|pwd)$)",
    re.IGNORECASE,
)
REFERS = re.compile(
    r"(arns?|ids?|names?|tokens|paths?|prefix|refs?|file|from|days|seconds|minutes|hours|length|count|version|versions|key|"
    r"period|limit|window|type|stages?|algorithm|usage|per_?hour|endpoint|description|group|header|rotation|format)$",
    re.IGNORECASE,
)
"""What ends so names a secret, or says something of it."""
KEYS = re.compile(r"(api|private|secret|access|encryption|signing)_?key$", re.IGNORECASE)
"""Keys that are secrets themselves. An access key's id is none, and an encryption key's is neither."""

SIGNS = (
    (re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"), "no access key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "no private key"),
    (re.compile(r"://[^/\s:@${]+:[^/\s:@${]+@"), "no URL with a password"),
    (re.compile(r"hooks\.slack\.com/services/T"), "no webhook"),
    (re.compile(r"\bxox[abpr]-[0-9A-Za-z-]{10}"), "no token"),
    (re.compile(r"\bgh[pousr]_[0-9A-Za-z]{30}"), "no token"),
)

ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=['\"]?([^'\"\s$]+)", re.MULTILINE)
"""In user data."""

HARMLESS = re.compile(r"^(|true|false|null|[0-9.]+|arn:.*|/.*|\$.*|ENABLED|DISABLED|AWS_.*|aws-?.*)$", re.IGNORECASE)
"""No secret looks like this: switches, numbers, ARNs, paths, variables."""

EXPECTED = "an ARN of a secret, or a value that is secret to Pulumi"


@dataclass(frozen=True)
class Reading:
    """``path``: of the value. ``expected`` and ``got``: in words, without it."""

    path: str
    expected: str
    got: str


def readings(value: Any, path: str = "", hides: Callable[[str], bool] = lambda _: False) -> Iterator[Reading]:
    """What at ``value`` and below reads as a secret. ``hides``: paths that nobody may read."""
    for where, each in nodes(value, path):
        if hides(where):
            continue
        if isinstance(each, str):
            yield from _text(where, each)
        elif isinstance(each, dict) and reads_as_secret(str(each.get("name")), each.get("value", "")):
            yield named(f"{where}.value", str(each["name"]))


def named(path: str, name: str) -> Reading:
    """Of a value that is a secret by its name."""
    return Reading(path, EXPECTED, f"{name} in plain text")


def reads_as_secret(name: str, value: Any) -> bool:
    if not NAME.search(name) or (REFERS.search(name) and not KEYS.search(name)):
        return False
    return isinstance(value, str) and not HARMLESS.match(value)


def _text(path: str, value: str) -> Iterator[Reading]:
    if reads_as_secret(last(path), value):
        yield named(path, last(path))
    for pattern, expected in SIGNS:
        # What a JSON text says is walked through by itself.
        if pattern.search(value) and document(value) is None:
            yield Reading(path, expected, "one")
    if "\n" in value:
        for name, assigned in ASSIGNED.findall(value):
            if reads_as_secret(name, assigned):
                yield named(path, name)
