"""A process that uses a ledger as fast as it can, and says of each request that it began or ended, after it did.

``python -m tests.integration.serve.llm.ledger_writer URL JOURNALS NAME [DOLLARS_A_DAY]``. Where a budget refuses one,
it says so and begins no more.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from serve.gateway.errors import BudgetReached
from serve.llm.backend import Tokens
from serve.llm.ledger.ledger import UsageLedger, UsageReservation
from serve.llm.ledger.store import open_store
from serve.llm.settings import Budget
from serve.llm.use import Use

AT_ONCE = 8


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def main(url: str, journals: str, name: str, dollars_a_day: str = "1e9") -> None:
    store = open_store(url, Path(journals))
    ledger = UsageLedger(store, [Budget(dollars_per_day=float(dollars_a_day))], flush_seconds=0.02)
    await ledger.start()
    running: list[tuple[str, UsageReservation]] = []
    number = 0
    while True:
        number += 1
        request = f"{name}-{number}"
        try:
            running.append((request, ledger.reserve("reports", "assistant", 0.5, request)))
        except BudgetReached:
            await ledger.flush()
            say(f"refused {request}")
            await asyncio.Event().wait()
        say(f"began {request}")
        if len(running) == AT_ONCE:
            oldest, reservation = running.pop(0)
            at = datetime.now(UTC)
            tokens = Tokens(10, 5)
            reservation.settle(Use(oldest, at, "reports", "assistant", "own", "chat", tokens, 0.1, 0.2, 0.25, "done"))
            say(f"ended {oldest}")
        if number % 4 == 0:
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
