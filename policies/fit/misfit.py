"""What doesn't fit: both sides of it, and the smallest change after which it would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from policies.node import Violation


@dataclass(frozen=True)
class Change:
    """``path`` is to be ``value`` in ``file``: the stack's settings, the serving settings, or the program."""

    file: str
    path: str
    value: Any

    def __str__(self) -> str:
        text = yaml.safe_dump(self.value, default_flow_style=True, sort_keys=False, width=1000)
        # YAML ends a plain value's document with a line of its own.
        return f"{self.path}: {text.strip().removesuffix('...').strip()} in {self.file}"


@dataclass(frozen=True)
class Misfit(Violation):
    """``expected`` and ``got`` are the two sides, in words. ``otherwise``: where no one change is known."""

    place: str = ""
    check: str = ""
    asks: str = ""
    changes: Sequence[Change] = ()
    otherwise: str = ""

    def __str__(self) -> str:
        change = " and ".join(map(str, self.changes)) or self.otherwise
        return f"{self.place}: {self.asks}, and {self.got}: expected {self.expected}; smallest change: {change}"
