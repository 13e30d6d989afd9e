"""The ledger of one process: uses go into a journal at once, and from there to the store in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from serve.llm.ledger.budgets import EPOCH, Budgets, Claim, first_day
from serve.llm.ledger.entries import Began, Entry, clean, entry_of
from serve.llm.ledger.journal import LARGEST_BYTES, Journal, Taken, take_over
from serve.llm.ledger.store import LedgerError, Spending, UsageStore, open_store
from serve.llm.settings import Budget, UsageSettings
from serve.llm.use import Use

TAKE_OVER_SECONDS = 30.0
MOST_PENDING = 20_000
"""Uses that are kept in memory while the store can't be written. Beyond it the journal alone has them."""

LEAST_PROCESSES = 2
"""Where there is one, another may take its place, and both are there for a while."""

logger = logging.getLogger("ray.serve")


class UsageLedger:
    """Keeps to :class:`serve.llm.use.Ledger`. Used by one event loop; ``reserve`` and ``settle`` never wait.

    ``clock``: seconds since 1970.
    """

    def __init__(
        self,
        store: UsageStore,
        budgets: Sequence[Budget] = (),
        flush_seconds: float = 0.5,
        *,
        clock: Callable[[], float] = time.time,
        on_problem: Callable[[str], None] = logger.warning,
    ) -> None:
        self._store = store
        self._budgets = Budgets(budgets)
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._on_problem = on_problem
        self._process = uuid.uuid4().hex
        self._journal = Journal(store.journals, self._process, on_problem)
        self._number = 0
        self._running: dict[str, Began] = {}
        self._pending: list[Entry] = []
        self._overflown = False
        self._failing = False
        self._processes = LEAST_PROCESSES
        self._flushing = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Taken:
        """Make or check the store, take over what others left, learn what is spent, and begin to flush.

        Raises:
            LedgerError: it can't be kept, so no request should be answered.
        """
        await asyncio.to_thread(self._store.prepare)
        await asyncio.to_thread(self._journal.open)
        found = await self._take_over()
        self._budgets.adopt(await asyncio.to_thread(self._exchange, [], {}, False))
        self._task = asyncio.create_task(self._flush_and_take_over())
        return found

    def reserve(
        self,
        key: str,
        model: str,
        most_dollars: float,
        request_id: str = "",
        prompt: str = "",
        prompt_version: str = "",
    ) -> UsageReservation:
        """See :meth:`serve.llm.use.Ledger.reserve`."""
        # As the store has them, which knows what they spent.
        key, model = clean(key), clean(model)
        at = self._now()
        claim = self._budgets.reserve(key, model, most_dollars, _day(at))
        self._number += 1
        known = most_dollars if math.isfinite(most_dollars) else 0.0
        name = f"{self._process}-{self._number}"
        began = Began(name, at, key, model, known, clean(request_id), clean(prompt), clean(prompt_version))
        self._running[began.id] = began
        self._journal.began(began)
        return UsageReservation(self, began, claim)

    def shared_by(self, processes: int) -> None:
        """So many write to it just now."""
        self._processes = max(processes, LEAST_PROCESSES)

    async def confirm(self, began: Began, claim: Claim) -> None:
        """Where a budget is nearly spent: hear what others took of it, and take the reservation back if it is too much.

        Raises:
            BudgetReached: nothing is reserved any more.
        """
        if self._failing or not claim.near(self._processes):
            return
        try:
            # With what is reserved now, which was not in the one that is under way.
            await asyncio.shield(self._following_flush())
            claim.check()
        except LedgerError:
            # As without others, until it can be written again. Who flushes has told it.
            pass
        except BaseException:
            if self._running.pop(began.id, None) is not None:
                claim.settle(0.0)
                self._journal.released(began.id)
                # Others have heard of it.
                self._following_flush()
            raise

    def extend(self, began: Began, claim: Claim, dollars: float, *, anyway: bool) -> None:
        running = self._running.get(began.id)
        if running is None:
            return
        claim.extend(dollars, anyway=anyway)
        more = replace(running, most_dollars=running.most_dollars + (dollars if math.isfinite(dollars) else 0.0))
        self._running[began.id] = more
        self._journal.began(more)

    def settle(self, began: Began, claim: Claim, use: Use) -> None:
        if self._running.pop(began.id, None) is None:
            return
        entry = entry_of(began, use)
        claim.settle(entry.use.dollars or 0.0)
        self._journal.ended(entry)
        if len(self._pending) >= MOST_PENDING and not self._journal.failing:
            self._overflown = True
        else:
            self._pending.append(entry)

    async def flush(self) -> None:
        """Bring what has ended to the store.

        Raises:
            LedgerError: the store can't be written now; nothing is lost by it.
        """
        async with self._flushing:
            await self._flush()

    def _following_flush(self) -> asyncio.Task[None]:
        """One serves all that wait for it."""
        if self._next is None:
            self._next = asyncio.create_task(self._flush_next())
            # Whoever waited for it may have gone.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._next

    async def _flush_next(self) -> None:
        async with self._flushing:
            self._next = None
            await self._flush()

    async def _flush(self) -> None:
        batch, self._pending = self._pending, []
        overflown, self._overflown = self._overflown, False
        if not batch and not overflown and not self._budgets:
            return
        held = self._budgets.held()
        self._budgets.leave()
        try:
            spent = await asyncio.to_thread(self._exchange, batch, held, overflown)
        except BaseException:
            self._pending = batch + self._pending
            self._overflown |= overflown
            raise
        self._budgets.adopt(spent)
        # What is too much for memory is in the journal alone.
        if self._journal.size > LARGEST_BYTES and not self._overflown:
            self._journal.renew(self._running.values(), self._pending)

    async def close(self) -> None:
        """Bring everything to the store. What still runs, or can't be brought there, is left for the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        try:
            await self.flush()
            # Streams that are cut off by a stop end meanwhile.
            while self._pending or self._overflown or self._next is not None:
                await self.flush()
            if not self._running:
                await asyncio.to_thread(self._store.write, [], self._process)
        except LedgerError as error:
            self._on_problem(f"usage stays in the journal: {error}")
        else:
            if not (self._running or self._pending or self._overflown):
                self._journal.remove()
        await asyncio.to_thread(self._store.close)

    def _exchange(self, batch: Sequence[Entry], held: Spending, overflown: bool) -> Spending:
        since = first_day(_day(self._now()))
        if overflown:
            # Not before the store can be written again: it may be long.
            self._store.write(batch)
            batch = self._journal.read().ended
        return self._store.exchange(self._process, batch, held, since)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    async def _take_over(self) -> Taken:
        found = await asyncio.to_thread(take_over, self._store)
        if found != Taken():
            self._on_problem(
                f"of processes that ended without telling, {found.uses} uses were taken over, {found.lost} requests "
                f"were running, and {found.torn} lines can't be read"
            )
        return found

    async def _flush_and_take_over(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(self._flush_seconds)
            try:
                await self.flush()
                if time.monotonic() - looked >= TAKE_OVER_SECONDS:
                    looked = time.monotonic()
                    await self._take_over()
            except LedgerError as error:
                if not self._failing:
                    self._on_problem(f"usage stays in the journal until the ledger can be written again: {error}")
                self._failing = True
            except Exception:
                logger.exception("the ledger's flush failed, and goes on")
            else:
                if self._failing:
                    self._on_problem("the ledger can be written again")
                self._failing = False


def _day(at: datetime) -> int:
    return at.toordinal() - EPOCH


class UsageReservation:
    """Keeps to :class:`serve.llm.use.Reservation`."""

    __slots__ = ("_began", "_claim", "_ledger")

    def __init__(self, ledger: UsageLedger, began: Began, claim: Claim) -> None:
        self._ledger = ledger
        self._began = began
        self._claim = claim

    async def confirm(self) -> None:
        await self._ledger.confirm(self._began, self._claim)

    def extend(self, dollars: float, *, anyway: bool = False) -> None:
        self._ledger.extend(self._began, self._claim, dollars, anyway=anyway)

    def settle(self, use: Use) -> None:
        self._ledger.settle(self._began, self._claim, use)


class NoLedger:
    """Keeps nothing, and refuses nothing."""

    async def start(self) -> Taken:
        return Taken()

    def shared_by(self, processes: int) -> None:
        pass

    def reserve(
        self,
        key: str,  # noqa: ARG002
        model: str,  # noqa: ARG002
        most_dollars: float,  # noqa: ARG002
        request_id: str = "",  # noqa: ARG002
        prompt: str = "",  # noqa: ARG002
        prompt_version: str = "",  # noqa: ARG002
    ) -> NoReservation:
        return NO_RESERVATION

    async def close(self) -> None:
        pass


class NoReservation:
    async def confirm(self) -> None:
        pass

    def extend(self, dollars: float, *, anyway: bool = False) -> None:
        pass

    def settle(self, use: Use) -> None:
        pass


NO_RESERVATION = NoReservation()


def open_ledger(settings: UsageSettings) -> UsageLedger | NoLedger:
    """The ledger of the settings, to be started.

    Raises:
        LedgerError: its URL, or where its password is, is not one of a ledger.
    """
    if settings.ledger is None:
        return NoLedger()
    store = open_store(settings.ledger, settings.journals, settings.password)
    return UsageLedger(store, settings.budgets, settings.flush_seconds)
