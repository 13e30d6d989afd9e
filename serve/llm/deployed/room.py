"""How many calls a replica works on at once, by whichever way they come."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Room:
    """``calls`` at once, and as many that wait, in the order in which they came. Enter it for a call."""

    def __init__(self, calls: int) -> None:
        self._places = asyncio.Semaphore(calls)
        self._most_waiting = calls
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.waiting >= self._most_waiting

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.release()
