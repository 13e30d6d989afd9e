"""Budgets that several processes share: near the end of one each hears of the others before it lets a request in."""

from __future__ import annotations

import asyncio
import random

import pytest

from serve.gateway.errors import BudgetReached
from serve.llm.ledger.journal import Taken
from serve.llm.ledger.ledger import UsageLedger
from serve.llm.ledger.store import LedgerUnwritable
from serve.llm.settings import Budget
from tests.ledgers import Place
from tests.unit.serve.llm.uses import ledger, release, use

DAILY = [Budget(dollars_per_day=1.0)]


async def started(place: Place, count: int) -> list[UsageLedger]:
    made = [ledger(place, DAILY) for _ in range(count)]
    for each in made:
        each.shared_by(count)
        await each.start()
    return made


async def let_in(kept: UsageLedger, dollars: float) -> bool:
    try:
        await kept.reserve("reports", "assistant", dollars).confirm()
    except BudgetReached:
        return False
    return True


def test_of_two_that_come_at_once_to_two_processes_one_is_let_in(place: Place) -> None:
    async def check() -> None:
        here, there = await started(place, 2)
        assert sorted(await asyncio.gather(let_in(here, 0.9), let_in(there, 0.9))) == [False, True]
        # What was not let in is reserved nowhere.
        assert sum(amount for each in (here, there) for amount in each._budgets.held().values()) == 0.9
        for each in (here, there) * 2:
            await each.flush()
        assert not await let_in(here, 0.2)
        assert await let_in(here, 0.1)
        await here.close()
        await there.close()

    asyncio.run(check())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_to_whichever_process_the_budget_is_filled_and_hardly_passed(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    dearest = 0.06

    async def requests(kept: UsageLedger) -> float:
        found = 0.0
        for _ in range(25):
            dollars = chance.uniform(0.01, dearest)
            if await let_in(kept, dollars):
                found += dollars
            await asyncio.sleep(chance.uniform(0, 0.004))
            await kept.flush()
        return found

    async def check() -> float:
        kept = await started(place, 3)
        found = sum(await asyncio.gather(*map(requests, kept)))
        for each in kept:
            await each.close()
        return found

    # More than twice as much is asked for, and all of what is left may be begun between two flushes.
    assert 1 - 3 * dearest <= asyncio.run(check()) <= 1 + dearest / 2


def test_far_from_its_end_nobody_waits_and_near_it_everybody_does(place: Place) -> None:
    async def check() -> None:
        here, there = await started(place, 2)
        for each in (here, there):
            with pytest.raises(StopIteration):
                each.reserve("reports", "assistant", 0.12).confirm().send(None)
        waiting = asyncio.create_task(let_in(here, 0.12))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await waiting
        await here.close()
        await there.close()

    asyncio.run(check())


def test_where_the_ledger_is_away_each_goes_on_with_what_it_knows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LedgerUnwritable("away")

    async def check() -> None:
        here, there = await started(place, 2)
        with monkeypatch.context() as patch:
            for each in (here, there):
                patch.setattr(each._store, "exchange", away)
            assert await let_in(here, 0.9)
            assert await let_in(there, 0.9)
            assert not await let_in(here, 0.2)
        await here.close()
        await there.close()

    asyncio.run(check())


def test_who_goes_while_it_waits_holds_nothing_and_is_not_lost(place: Place) -> None:
    async def check() -> None:
        [kept] = await started(place, 1)
        waiting = asyncio.create_task(let_in(kept, 0.95))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await let_in(kept, 0.95)
        release(kept)
        after = ledger(place, DAILY)
        assert await after.start() == Taken(lost=1)
        assert not await let_in(after, 0.1)
        await after.close()

    asyncio.run(check())


def test_what_ended_makes_room_for_all(place: Place) -> None:
    async def check() -> None:
        here, there = await started(place, 2)
        reservation = here.reserve("reports", "assistant", 0.9)
        await reservation.confirm()
        assert not await let_in(there, 0.5)
        reservation.settle(use(dollars=0.1))
        await here.flush()
        await there.flush()
        assert await let_in(there, 0.9)
        await here.close()
        await there.close()

    asyncio.run(check())
