"""Budgets: what each key may spend at each model in a day and in a month of UTC.

All in memory and in whole billionths of a dollar, so that a sum that is added to and taken from for weeks is exact.
One process never lets a budget be passed, as long as no request comes to more than was reserved for it. Of others,
it knows what the store told at the last exchange, so near a budget's end a request waits for one: exchanges come one
after another, and of two processes the later one sees what the earlier has reserved. Far from it none waits: as long
as what each let in since its last exchange, let in by all, is less than a quarter of what was left then. See
``docs/usage.md`` for how far several may pass a budget together all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Literal

from serve.gateway.errors import BudgetReached
from serve.llm.ledger.store import Spending
from serve.llm.settings import Budget

BILLION = 10**9
ENDLESS = 2**100
"""Billionths of what is no number: more than any budget."""

MOST_ACCOUNTS = 10_000
"""Those that hold nothing are forgotten above this; a key's may be made anew at any time."""

FAR = 4
"""Of what is left of a budget one part in so many may be given away by all processes before they hear of each other."""

EPOCH = date(1970, 1, 1).toordinal()

Span = Literal["day", "month"]


def billionths(dollars: float) -> int:
    """Rounded up: less than what is spent must never be counted."""
    amount = dollars * BILLION
    return max(0, math.ceil(amount - 1e-6)) if math.isfinite(amount) else ENDLESS


def first_day(day: int) -> int:
    """The day on which the longest period began that this day is in."""
    return _limits("month", day)[0]


@dataclass(slots=True)
class Period:
    """A day or a month of a budget, from the day ``first`` to before ``end``.

    ``seen``: what the store told, with what others reserved. ``now``: settled here since; ``leaving``: settled here,
    and on its way to the store. ``reserved``: here; ``told``: as much of it as others know, or hear of just now
    (``telling``).
    """

    first: int
    end: int
    seen: int = 0
    now: int = 0
    leaving: int = 0
    reserved: int = 0
    told: int = 0
    telling: int = 0

    @property
    def taken(self) -> int:
        return self.seen + self.now + self.leaving + self.reserved

    @property
    def known(self) -> int:
        """Of what is taken, what others know."""
        return self.seen + self.told


@dataclass(slots=True)
class Bound:
    """One budget of one key at one model, for a span."""

    span: Span
    limit: int
    period: Period


@dataclass(slots=True)
class Account:
    """What bounds a key at a model, and what the store told of it by day."""

    bounds: tuple[Bound, ...]
    seen: dict[int, int] = field(default_factory=dict)

    def enter(self, day: int) -> None:
        """Begin the periods that a day is in. Never goes back, as a clock may."""
        for bound in self.bounds:
            if day >= bound.period.end:
                bound.period = self._period(bound.span, day)

    def see(self, seen: dict[int, int]) -> None:
        self.seen = seen
        for bound in self.bounds:
            bound.period.seen = self._seen(bound.period)

    def _period(self, span: Span, day: int) -> Period:
        period = Period(*_limits(span, day))
        period.seen = self._seen(period)
        return period

    def _seen(self, period: Period) -> int:
        return sum(amount for day, amount in self.seen.items() if period.first <= day < period.end)

    @property
    def idle(self) -> bool:
        return not any(bound.period.now or bound.period.leaving or bound.period.reserved for bound in self.bounds)


class Claim:
    """What one running request has reserved."""

    __slots__ = ("_amount", "_bounds", "_budgets", "_place")

    def __init__(self, budgets: Budgets, place: tuple[str, str, int], bounds: Sequence[Bound]) -> None:
        self._budgets = budgets
        self._place = place
        # With the periods that it began in.
        self._bounds = tuple(replace(bound) for bound in bounds)
        self._amount = 0

    def extend(self, dollars: float, *, anyway: bool = False) -> None:
        """Reserve more. ``anyway``: whatever budget it passes, as what is done already is.

        Raises:
            BudgetReached: nothing more is reserved then.
        """
        amount = billionths(dollars)
        key, model, _ = self._place
        for bound in self._bounds:
            if not anyway and bound.period.taken + amount > bound.limit:
                raise _reached(key, model, bound, amount)
        for bound in self._bounds:
            bound.period.reserved += amount
        self._amount += amount
        if self._bounds:
            self._budgets.hold(self._place, amount)

    def near(self, processes: int) -> bool:
        """Whether a budget may be passed by this where so many processes each let in as much at the same moment."""
        return any(
            (bound.period.taken - bound.period.known) * processes > (bound.limit - bound.period.known) // FAR
            for bound in self._bounds
        )

    def check(self) -> None:
        """Raises: BudgetReached: by what others have spent and reserved it would be passed."""
        key, model, _ = self._place
        for bound in self._bounds:
            if bound.period.taken > bound.limit:
                raise _reached(key, model, bound, self._amount, reserved=True)

    def settle(self, dollars: float) -> None:
        """Once: what it came to takes the place of what was reserved, in the periods in which it was."""
        spent = billionths(dollars)
        for bound in self._bounds:
            bound.period.reserved -= self._amount
            bound.period.now += spent
        self._budgets.hold(self._place, -self._amount)


class Budgets:
    """Used by one thread. A day is the number of days since 1970, in UTC."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self._budgets = budgets
        self._accounts: dict[tuple[str, str], Account] = {}
        self._seen: dict[tuple[str, str], dict[int, int]] = {}
        self._held: dict[tuple[str, str, int], int] = {}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def reserve(self, key: str, model: str, most_dollars: float, day: int) -> Claim:
        """Raises: BudgetReached."""
        account = self._account(key, model, day)
        account.enter(day)
        claim = Claim(self, (key, model, day), account.bounds)
        claim.extend(most_dollars)
        return claim

    def hold(self, place: tuple[str, str, int], amount: int) -> None:
        """``amount``: below 0 to give back."""
        held = self._held.pop(place, 0) + amount
        if held > 0:
            self._held[place] = held

    def held(self) -> dict[tuple[str, str, int], float]:
        """What is reserved now, for the other processes to know."""
        return {place: amount / BILLION for place, amount in self._held.items()}

    def leave(self) -> None:
        """What was settled until now is on its way to the store. Where it does not get there, it is so again."""
        for period in self._periods():
            period.leaving, period.now = period.leaving + period.now, 0
            period.telling = period.reserved

    def adopt(self, spent: Spending) -> None:
        """All that had left got there, and this is what the store has now."""
        self._seen = {}
        for (key, model, day), dollars in spent.items():
            self._seen.setdefault((key, model), {})[day] = billionths(dollars)
        if len(self._accounts) > MOST_ACCOUNTS:
            self._accounts = {pair: account for pair, account in self._accounts.items() if not account.idle}
        for pair, account in self._accounts.items():
            for bound in account.bounds:
                bound.period.leaving = 0
                bound.period.told = bound.period.telling
            account.see(self._seen.get(pair, {}))

    def _account(self, key: str, model: str, day: int) -> Account:
        found = self._accounts.get((key, model))
        if found is None:
            matching = [
                budget for budget in self._budgets if fnmatchcase(key, budget.key) and fnmatchcase(model, budget.model)
            ]
            found = Account(tuple(bound for budget in matching for bound in _bounds(budget, day)))
            found.see(self._seen.get((key, model), {}))
            self._accounts[key, model] = found
        return found

    def _periods(self) -> Iterator[Period]:
        return (bound.period for account in self._accounts.values() for bound in account.bounds)


def _bounds(budget: Budget, day: int) -> Iterator[Bound]:
    limits: tuple[tuple[Span, float | None], ...] = (
        ("day", budget.dollars_per_day),
        ("month", budget.dollars_per_month),
    )
    for span, dollars in limits:
        if dollars is not None:
            # Rounded down, as what is spent is up; a float's own error is no billionth.
            yield Bound(span, math.floor(dollars * BILLION + 1e-6), Period(*_limits(span, day)))


def _limits(span: Span, day: int) -> tuple[int, int]:
    if span == "day":
        return day, day + 1
    today = date.fromordinal(EPOCH + day)
    first = today.replace(day=1)
    after = (first + timedelta(days=31)).replace(day=1)
    return first.toordinal() - EPOCH, after.toordinal() - EPOCH


def _reached(key: str, model: str, bound: Bound, amount: int, *, reserved: bool = False) -> BudgetReached:
    """``reserved``: the amount is in what is taken."""
    left = max(0, bound.limit - bound.period.taken + (amount if reserved else 0))
    limit = (
        f"${_plain(bound.limit)} a {bound.span} (${_plain(left)} is left, this request may come to "
        f"{'more than can be said' if amount >= ENDLESS else f'${_plain(amount)}'})"
    )
    until = f"{date.fromordinal(EPOCH + bound.period.end)}T00:00:00Z"
    return BudgetReached(f"key {key} at model {model}", limit, f"at {until}")


def _plain(amount: int) -> str:
    return f"{amount / BILLION:.6f}".rstrip("0").rstrip(".")
