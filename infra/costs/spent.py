"""What was spent, by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from console import UserError


class CostsError(UserError):
    """The costs can't be had as they were asked for."""


@dataclass(frozen=True)
class Period:
    """``end`` is the first day that is not in it."""

    first: date
    end: date

    @classmethod
    def before(cls, today: date, days: int) -> Period:
        """The last whole days."""
        return cls(today - timedelta(days=days), today)

    @property
    def days(self) -> int:
        return (self.end - self.first).days

    @property
    def dates(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=number) for number in range(self.days))

    def __str__(self) -> str:
        return f"{self.first} to {self.end - timedelta(days=1)}"


@dataclass(frozen=True)
class Spent:
    """On one day, for one service or value of a tag."""

    day: date
    cloud: str
    group: str
    amount: float
    currency: str


def totals(spent: Iterable[Spent]) -> Mapping[tuple[str, str, str], float]:
    """(cloud, group, currency) → the sum, the largest first."""
    found: dict[tuple[str, str, str], float] = defaultdict(float)
    for each in spent:
        found[each.cloud, each.group, each.currency] += each.amount
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
