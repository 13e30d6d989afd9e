"""A process that uses a ledger as fast as it can, and says of each request that it began or ended, after it did.

``python -m tests.integration.serve.llm.ledger_writer URL NAME``
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime

from serve.llm.backend import Tokens
from serve.llm.ledger.ledger import UsageLedger, UsageReservation
from serve.llm.ledger.store import open_store
from serve.llm.settings import Budget
from serve.llm.use import Use

AT_ONCE = 8


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def main(url: str, name: str) -> None:
    ledger = UsageLedger(open_store(url), [Budget(dollars_per_month=1e9)], flush_seconds=0.02)
    await ledger.start()
    running: list[tuple[str, UsageReservation]] = []
    number = 0
    while True:
        number += 1
        request = f"{name}-{number}"
        running.append((request, ledger.reserve("reports", "assistant", 0.5, request)))
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
