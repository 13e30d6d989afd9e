"""Uses, and ledgers to put them in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from serve.llm.backend import Tokens
from serve.llm.ledger.ledger import UsageLedger
from serve.llm.settings import Budget
from serve.llm.use import Use
from tests.ledgers import Place

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def use(**given: Any) -> Use:
    known: dict[str, Any] = {
        "request_id": "r",
        "at": NOON,
        "key": "reports",
        "model": "assistant",
        "backend": "own",
        "operation": "chat",
        "tokens": Tokens(100, 20, 10),
        "first_token_seconds": 0.1,
        "seconds": 0.5,
        "dollars": 0.25,
        "ended": "done",
    }
    return Use(**{**known, **given})


class Clock:
    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at.timestamp()


def ledger(place: Place, budgets: Sequence[Budget] = (), clock: Clock | None = None, **given: Any) -> UsageLedger:
    """One that flushes when it is told to."""
    given.setdefault("on_problem", lambda problem: None)
    return UsageLedger(place.store(), budgets, flush_seconds=3600, clock=clock or Clock(), **given)


def release(kept: UsageLedger) -> None:
    """Give up its journal's lock, as its process does when it ends."""
    kept._journal._file, file = None, kept._journal._file
    assert file is not None
    os.close(file)


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
