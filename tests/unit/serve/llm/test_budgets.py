"""Budgets: no sequence of requests passes one."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve.gateway.errors import BudgetReached
from serve.llm.ledger import budgets as module
from serve.llm.ledger.budgets import BILLION, ENDLESS, EPOCH, Budgets, Claim, billionths, first_day
from serve.llm.settings import Budget
from tests.ledgers import Place, SqlitePlace
from tests.unit.serve.llm.uses import Clock, ledger, use

DAY = date(2026, 3, 14).toordinal() - EPOCH
DAY_LIMIT, MONTH_LIMIT = 1000, 2500
KEYS, MODELS = ("reports", "mobile"), ("small", "large")
BOUNDED = Budget(key="re*", dollars_per_day=DAY_LIMIT / BILLION, dollars_per_month=MONTH_LIMIT / BILLION)


class Requests(RuleBasedStateMachine):
    """Any requests, ends, days, flushes and failures of them, beside a plain account of what is true."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets = Budgets([BOUNDED])
        self.day = DAY
        self.running: list[tuple[Claim, str, str, int, int]] = []
        self.spent: list[tuple[str, str, int, int]] = []
        self.stored = self.leaving = 0

    def taken(self, key: str, model: str, first: int, end: int) -> int:
        spent = sum(amount for k, m, day, amount in self.spent if (k, m) == (key, model) and first <= day < end)
        held = sum(most for _, k, m, day, most in self.running if (k, m) == (key, model) and first <= day < end)
        return spent + held

    def month(self) -> tuple[int, int]:
        first = first_day(self.day)
        return first, next(day for day in range(first + 1, first + 40) if first_day(day) == day)

    @rule(key=st.sampled_from(KEYS), model=st.sampled_from(MODELS), most=st.integers(0, 1200))
    def reserve(self, key: str, model: str, most: int) -> None:
        in_day = self.taken(key, model, self.day, self.day + 1)
        in_month = self.taken(key, model, *self.month())
        fits = key == "mobile" or (in_day + most <= DAY_LIMIT and in_month + most <= MONTH_LIMIT)
        try:
            claim = self.budgets.reserve(key, model, most / BILLION, self.day)
        except BudgetReached:
            assert not fits
        else:
            assert fits
            self.running.append((claim, key, model, self.day, most))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=st.integers(0, 600))
    def extend(self, data: st.DataObject, more: int) -> None:
        number = data.draw(st.integers(0, len(self.running) - 1))
        claim, key, model, day, most = self.running[number]
        month = first_day(day)
        end = next(later for later in range(month + 1, month + 40) if first_day(later) == later)
        in_day = self.taken(key, model, day, day + 1)
        in_month = self.taken(key, model, month, end)
        fits = key == "mobile" or (in_day + more <= DAY_LIMIT and in_month + more <= MONTH_LIMIT)
        try:
            claim.extend(more / BILLION)
        except BudgetReached:
            assert not fits
        else:
            assert fits
            self.running[number] = (claim, key, model, day, most + more)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float) -> None:
        number = data.draw(st.integers(0, len(self.running) - 1))
        claim, key, model, day, most = self.running.pop(number)
        came_to = int(most * share)
        claim.settle(came_to / BILLION)
        self.spent.append((key, model, day, came_to))

    @rule(days=st.integers(1, 20))
    def go_on(self, days: int) -> None:
        self.day += days

    @rule()
    def a_flush_begins(self) -> None:
        self.budgets.leave()
        self.leaving = len(self.spent)

    @rule()
    def it_gets_there(self) -> None:
        """Or it doesn't: then this is not called before the next one begins."""
        self.stored = self.leaving
        found: dict[tuple[str, str, int], float] = {}
        for key, model, day, amount in self.spent[: self.stored]:
            if day >= first_day(self.day):
                found[key, model, day] = found.get((key, model, day), 0) + amount / BILLION
        self.budgets.adopt(found)

    @invariant()
    def no_budget_is_passed(self) -> None:
        for model in MODELS:
            for day in {day for *_, day, _ in self.spent}:
                assert self.taken("reports", model, day, day + 1) <= DAY_LIMIT
            assert self.taken("reports", model, *self.month()) <= MONTH_LIMIT

    @invariant()
    def what_is_told_to_others_is_what_runs(self) -> None:
        held: dict[tuple[str, str, int], int] = {}
        for _, key, model, day, most in self.running:
            if key == "reports" and most:
                held[key, model, day] = held.get((key, model, day), 0) + most
        assert {place: round(dollars * BILLION) for place, dollars in self.budgets.held().items()} == held


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=40, stateful_step_count=40)


@given(st.floats(0, 1e6))
def test_no_amount_is_counted_as_less_than_it_is(dollars: float) -> None:
    assert billionths(dollars) >= dollars * BILLION - 1e-3


@pytest.mark.parametrize("amount", [float("inf"), float("nan"), 1e300])
def test_what_is_no_amount_is_more_than_any_budget(amount: float) -> None:
    assert billionths(amount) >= ENDLESS
    budgets = Budgets([Budget(dollars_per_day=1e9)])
    with pytest.raises(BudgetReached):
        budgets.reserve("k", "m", amount, DAY)
    budgets.reserve("k", "m", 1.0, DAY)


def test_the_error_says_whose_budget_how_much_and_when_it_begins_anew() -> None:
    budgets = Budgets([Budget(key="reports", dollars_per_day=5, dollars_per_month=20)])
    budgets.reserve("reports", "assistant", 4.5, DAY)
    with pytest.raises(BudgetReached) as caught:
        budgets.reserve("reports", "assistant", 0.75, DAY)
    assert str(caught.value) == (
        "key reports at model assistant: the budget of $5 a day ($0.5 is left, this request may come to $0.75) would "
        "be passed; it begins anew at 2026-03-15T00:00:00Z"
    )
    budgets.reserve("reports", "another", 4.5, DAY)
    for day in (DAY + 1, DAY + 2, DAY + 3):
        budgets.reserve("reports", "assistant", 5, day)
    with pytest.raises(BudgetReached, match=r"\$20 a month .* anew at 2026-04-01T00:00:00Z"):
        budgets.reserve("reports", "assistant", 5, DAY + 4)


@pytest.mark.parametrize(
    ("now", "next_moment", "span"),
    [
        (datetime(2026, 3, 14, 23, 59, 59, 999_999, UTC), datetime(2026, 3, 15, tzinfo=UTC), "day"),
        (datetime(2026, 2, 28, 23, 59, 59, 999_999, UTC), datetime(2026, 3, 1, tzinfo=UTC), "month"),
        (datetime(2028, 2, 29, 23, 59, 59, 999_999, UTC), datetime(2028, 3, 1, tzinfo=UTC), "month"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2027, 1, 1, tzinfo=UTC), "month"),
    ],
)
def test_a_budget_begins_anew_at_midnight_of_utc_and_not_before(
    tmp_path: Path, now: datetime, next_moment: datetime, span: str
) -> None:
    async def check() -> None:
        clock = Clock(now)
        kept = ledger(SqlitePlace(tmp_path), [Budget(**{f"dollars_per_{span}": 1.0})], clock)  # type: ignore[arg-type]
        await kept.start()
        late = kept.reserve("reports", "assistant", 1.0)
        with pytest.raises(BudgetReached, match=f"{next_moment:%Y-%m-%dT%H:%M:%SZ}"):
            kept.reserve("reports", "assistant", 0.001)
        clock.at = next_moment
        kept.reserve("reports", "assistant", 1.0)
        # It ends in the new period, and counts in the one in which it was let in.
        late.settle(use(dollars=1.0, at=next_moment))
        await kept.flush()
        with pytest.raises(BudgetReached):
            kept.reserve("reports", "assistant", 0.001)
        await kept.close()

    asyncio.run(check())


def test_what_was_spent_before_a_start_counts(place: Place) -> None:
    async def check() -> None:
        first = ledger(place)
        await first.start()
        first.reserve("reports", "assistant", 1.0).settle(use(dollars=0.75))
        await first.close()
        second = ledger(place, [Budget(dollars_per_month=1.0)])
        await second.start()
        with pytest.raises(BudgetReached, match=r"\$0\.25 is left"):
            second.reserve("reports", "assistant", 0.5)
        second.reserve("reports", "assistant", 0.25)
        await second.close()

    asyncio.run(check())


def test_others_know_what_is_spent_and_reserved_after_a_flush_of_both(place: Place) -> None:
    async def check() -> None:
        budget = [Budget(dollars_per_day=10.0)]
        here, there = ledger(place, budget), ledger(place, budget)
        await here.start()
        await there.start()
        running = here.reserve("reports", "assistant", 6.0)
        await here.flush()
        await there.flush()
        with pytest.raises(BudgetReached, match=r"\$4 is left"):
            there.reserve("reports", "assistant", 5.0)
        running.settle(use(dollars=1.0))
        await here.flush()
        await there.flush()
        there.reserve("reports", "assistant", 9.0)
        with pytest.raises(BudgetReached, match=r"\$0 is left"):
            there.reserve("reports", "assistant", 0.01)
        await here.close()
        await there.close()

    asyncio.run(check())


def test_what_runs_longer_counts_for_others_too_whatever_it_passes(place: Place) -> None:
    async def check() -> None:
        budget = [Budget(dollars_per_day=1.0)]
        here, there = ledger(place, budget), ledger(place, budget)
        await here.start()
        await there.start()
        stream = here.reserve("reports", "assistant", 0.5)
        with pytest.raises(BudgetReached, match=r"\$0\.5 is left"):
            stream.extend(0.75)
        for _ in range(3):
            stream.extend(0.5, anyway=True)
        with pytest.raises(BudgetReached, match=r"\$0 is left"):
            here.reserve("reports", "assistant", 0.1)
        await here.flush()
        await there.flush()
        with pytest.raises(BudgetReached):
            there.reserve("reports", "assistant", 0.1)
        stream.settle(use(dollars=0.25))
        stream.extend(0.5, anyway=True)
        here.reserve("reports", "assistant", 0.75)
        await here.close()
        await there.close()

    asyncio.run(check())


def test_a_budget_counts_on_while_the_store_can_not_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    async def check() -> None:
        kept = ledger(SqlitePlace(tmp_path), [Budget(dollars_per_day=1.0)])
        await kept.start()
        kept.reserve("reports", "assistant", 0.5).settle(use(dollars=0.5))

        def broken(*arguments: object) -> None:
            raise module.BudgetReached("stands for", "any", "error")

        with monkeypatch.context() as patched:
            patched.setattr(kept._store, "exchange", broken)
            for _ in range(3):
                with pytest.raises(BudgetReached):
                    await kept.flush()
        with pytest.raises(BudgetReached, match=r"\$0\.5 is left"):
            kept.reserve("reports", "assistant", 0.51)
        await kept.flush()
        kept.reserve("reports", "assistant", 0.5)
        await kept.close()

    asyncio.run(check())


def test_what_is_settled_twice_gives_its_reservation_back_once(tmp_path: Path) -> None:
    async def check() -> None:
        kept = ledger(SqlitePlace(tmp_path), [Budget(dollars_per_day=1.0)])
        await kept.start()
        kept.reserve("reports", "assistant", 0.5)
        twice = kept.reserve("reports", "assistant", 0.5)
        for _ in range(2):
            twice.settle(use(dollars=0.125))
        with pytest.raises(BudgetReached, match=r"\$0\.375 is left"):
            kept.reserve("reports", "assistant", 0.5)
        await kept.close()

    asyncio.run(check())


def test_accounts_that_hold_nothing_are_forgotten_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 10)
    budgets = Budgets([Budget(dollars_per_day=1.0)])
    kept = budgets.reserve("runs", "m", 0.5, DAY)
    for number in range(50):
        budgets.reserve(f"key {number}", "m", 0.5, DAY).settle(0.5)
    budgets.leave()
    budgets.adopt({(f"key {number}", "m", DAY): 0.5 for number in range(50)})
    budgets.adopt({(f"key {number}", "m", DAY): 0.5 for number in range(50)})
    assert len(budgets._accounts) <= 10
    with pytest.raises(BudgetReached):
        budgets.reserve("key 3", "m", 0.6, DAY)
    with pytest.raises(BudgetReached):
        budgets.reserve("runs", "m", 0.6, DAY)
    kept.settle(0.0)
    budgets.reserve("runs", "m", 1.0, DAY)
