"""KMS keys, as the resources that are encrypted with one name it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.node import Node, Violation


def requires_key(node: Node, path: str) -> Iterator[Violation]:
    """A violation unless the value at ``path`` is a key of the account's own."""
    return node.require(path, "a KMS key of the account's own", is_own)


def is_own(key: Any) -> bool:
    """AWS's own go by their alias. Who may use those isn't for the account to say.
    https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-key
    """
    return isinstance(key, str) and bool(key) and "alias/aws/" not in key
