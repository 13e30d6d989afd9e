"""Numbers in a resource's inputs: the engine gives whole ones as floats, and some types take texts."""

from __future__ import annotations

import math
from typing import Any

LONGEST = 18
"""Digits of a text that is taken for a number."""


def whole(value: Any) -> int | None:
    """A whole number, or the text of one; None of anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    if isinstance(value, str) and value.isdecimal() and len(value) <= LONGEST:
        return int(value)
    return None


def whole_or(value: Any, otherwise: int = 0) -> int:
    """The whole number that it is; else ``otherwise``."""
    found = whole(value)
    return otherwise if found is None else found


def between(least: int, most: int, value: Any) -> bool:
    """Whether it is a whole number from ``least`` to ``most``."""
    found = whole(value)
    return found is not None and least <= found <= most
