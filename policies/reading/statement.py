"""What a statement of a policy says: of which actions, of whom, and what has to be so for it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from policies.node import Node
from policies.reading.iam import listed

COMPARES = frozenset({"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"})
"""Operators that need the key to be there: those with ``IfExists`` or ``ForAllValues:`` hold without it."""


def covers(statement: Node, action: str) -> bool:
    """Whether it speaks of ``action``, by its name or by a pattern."""
    if "NotAction" in statement.value:
        return not any(matches(each, action) for each in listed(statement.get("NotAction")))
    return any(matches(each, action) for each in listed(statement.get("Action")))


def matches(pattern: Any, text: str, *, case: bool = False) -> bool:
    """By IAM's wildcards. ``case``: whether that of letters counts, as it does in ARNs and not in actions."""
    if not isinstance(pattern, str):
        return False
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL if case else re.DOTALL | re.IGNORECASE) is not None


def principals(statement: Node) -> Iterator[tuple[str, str]]:
    """Kind and name of each. A text alone is an account, or everybody: ``*``."""
    given = statement.get("Principal")
    for kind, names in given.items() if isinstance(given, dict) else [("AWS", given)]:
        yield from ((str(kind), str(name)) for name in listed(names) if name is not None)


def is_everybody(principal: str) -> bool:
    return "*" in principal


def needs(statement: Node) -> Iterator[tuple[str, list[str]]]:
    """The keys, in small letters, that must have one of these values."""
    given = statement.get("Condition")
    for operator, keys in given.items() if isinstance(given, dict) else []:
        if str(operator).lower().removeprefix("foranyvalue:") in COMPARES and isinstance(keys, dict):
            yield from ((str(key).lower(), [str(each) for each in listed(values)]) for key, values in keys.items())


def narrowed_by(statement: Node, keys: Collection[str]) -> bool:
    """Whether one of these keys, in small letters, must have a value that not everybody can have."""
    return any(
        key in keys and bool(values) and all(NARROW.get(key, is_fixed)(each) for each in values)
        for key, values in needs(statement)
    )


def is_fixed(value: str) -> bool:
    """Neither empty, nor with a wildcard or a variable in it."""
    return bool(value) and not re.search(r"[*?]|\$\{", value)


def _is_account(value: str) -> bool:
    return re.fullmatch(r"\d{12}", value) is not None


def _is_ones_own(arn: str) -> bool:
    """An ARN of one account; or, of a service whose ARNs have none, with a name that begins with no wildcard."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return False
    account, name = parts[4:]
    return _is_account(account) or (not account and name[:1] not in ("", "*", "?", "$"))


def _is_of_organisation(path: str) -> bool:
    return is_fixed(path.partition("/")[0])


NARROW: dict[str, Callable[[str], bool]] = {
    "aws:principalaccount": _is_account,
    "aws:principalarn": _is_ones_own,
    "aws:principalorgid": is_fixed,
    "aws:principalorgpaths": _is_of_organisation,
    "aws:sourceaccount": _is_account,
    "aws:sourcearn": _is_ones_own,
    "aws:sourceorgid": is_fixed,
    "aws:sourceowner": _is_account,
    "aws:sourcevpc": is_fixed,
    "aws:sourcevpce": is_fixed,
    "kms:calleraccount": _is_account,
    "s3:dataaccesspointaccount": _is_account,
}
"""Key of a condition → which of its values not everybody can have.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html"""
