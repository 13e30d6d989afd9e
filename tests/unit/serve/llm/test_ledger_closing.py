"""What becomes of uses that end while others are brought to the store, and while the ledger closes."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from serve.gateway.errors import BudgetReached
from serve.llm.ledger import ledger as module
from serve.llm.ledger.journal import Taken
from serve.llm.ledger.ledger import UsageLedger
from serve.llm.settings import Budget
from tests.ledgers import Place
from tests.unit.serve.llm.uses import ledger, release, use

DAILY = [Budget(dollars_per_day=1.0)]


def requests(place: Place) -> int:
    ((found,),) = place.query("SELECT COUNT(*) FROM uses")
    return int(found)


def spend(kept: UsageLedger, uses: int = 1) -> None:
    for _ in range(uses):
        kept.reserve("reports", "assistant", 1.0).settle(use())


class Held:
    """The next call of a store's method waits until it is let go."""

    def __init__(self, kept: UsageLedger, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._whole = getattr(kept._store, method)
        self._loop = asyncio.get_running_loop()
        self._go_on = threading.Event()
        self.reached = asyncio.Event()
        monkeypatch.setattr(kept._store, method, self)

    def __call__(self, *arguments: Any) -> Any:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._go_on.wait(30)
        return self._whole(*arguments)

    def let_go(self) -> None:
        self._go_on.set()


@pytest.mark.usefixtures("impatient")
def test_a_ledger_that_closes_while_it_can_not_write_leaves_its_journal_to_the_next(place: Place) -> None:
    problems: list[str] = []

    async def check() -> None:
        kept = ledger(place, on_problem=problems.append)
        await kept.start()
        kept.reserve("reports", "assistant", 1.0).settle(use())
        kept.reserve("reports", "assistant", 0.5, "runs", "greeting", "3")
        kept.reserve("reports", "assistant", math.inf, "endless")
        with place.held_up():
            await kept.close()
        release(kept)
        after = ledger(place)
        assert await after.start() == Taken(uses=1, lost=2)
        await after.close()

    asyncio.run(check())
    assert "stays in the journal" in problems[0]
    columns = "request_id, ended, dollars, prompt, prompt_version"
    assert place.query(f"SELECT {columns} FROM uses ORDER BY id") == [
        ("r", "done", 0.25, "", ""),
        ("runs", "lost", 0.5, "greeting", "3"),
        ("endless", "lost", None, "", ""),
    ]


def test_what_ends_while_a_closing_ledger_brings_the_rest_to_the_store_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        spend(kept)
        cut_off = kept.reserve("reports", "assistant", 1.0)
        held = Held(kept, "exchange", monkeypatch)
        closing = asyncio.create_task(kept.close())
        await held.reached.wait()
        cut_off.settle(use())
        held.let_go()
        await closing

    asyncio.run(check())
    assert requests(place) == 2
    assert list(place.machine.iterdir()) == []


def test_what_ends_after_that_is_left_in_the_journal_to_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        held = Held(kept, "write", monkeypatch)
        closing = asyncio.create_task(kept.close())
        await held.reached.wait()
        spend(kept)
        held.let_go()
        await closing
        release(kept)
        after = ledger(place)
        assert await after.start() == Taken(uses=1)
        await after.close()

    asyncio.run(check())
    assert requests(place) == 1


def test_what_runs_stays_reserved_when_its_ledger_has_closed(place: Place) -> None:
    async def check() -> None:
        kept, other = ledger(place, DAILY), ledger(place, DAILY)
        await kept.start()
        await other.start()
        kept.reserve("reports", "assistant", 0.9)
        await kept.close()
        await other.flush()
        with pytest.raises(BudgetReached):
            other.reserve("reports", "assistant", 0.9)
        await other.close()

    asyncio.run(check())


def test_what_is_too_much_for_memory_outlives_the_renewal_of_its_journal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 3)
    monkeypatch.setattr(module, "LARGEST_BYTES", 100)

    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        spend(kept)
        held = Held(kept, "exchange", monkeypatch)
        flushing = asyncio.create_task(kept.flush())
        await held.reached.wait()
        spend(kept, 10)
        held.let_go()
        await flushing
        await kept.close()

    asyncio.run(check())
    assert requests(place) == 11
