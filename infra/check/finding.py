"""What a check tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console import one_line

LONGEST = 300


@dataclass(frozen=True)
class Finding:
    """``path``: of the property, such as ``policy.Statement[0].Action``. ``rule``: which one found it."""

    resource: str
    path: str
    expected: str
    got: Any
    rule: str = ""

    def __str__(self) -> str:
        """One line."""
        shown = one_line(self.got if isinstance(self.got, str) else repr(self.got))
        shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
        where = f"{self.resource}: {self.path}" if self.path else self.resource
        return one_line(f"{where}: expected {self.expected}, got {shown}{f' [{self.rule}]' if self.rule else ''}")
