"""How far a call may be ahead of its reader. One socket carries many calls, and each is read at a pace of its own.

Who sends counts what is not known to be read, and who reads tells it once that is half a window: most calls end before
they need a frame for it. What is sent may pass the window by one message, so that none is too large for it, and what a
reader has not told of is always less than would stop the sender.
"""

from __future__ import annotations

import asyncio

WINDOW_BYTES = 2**20
"""Of a call that lie unread before its sender waits."""


class Ahead:
    """The sender's count. One task alone may wait for it."""

    def __init__(self) -> None:
        self._unread = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Wait for a reader that is slower than what is sent."""
        await self._room.wait()

    def sent(self, size: int) -> None:
        self._unread += size
        if self._unread >= WINDOW_BYTES:
            self._room.clear()

    def read(self, size: int) -> None:
        self._unread -= size
        if self._unread < WINDOW_BYTES:
            self._room.set()


class Untold:
    """The reader's count."""

    def __init__(self) -> None:
        self._size = 0

    def read(self, size: int) -> int:
        """How much the sender is to be told of now, which may be nothing."""
        self._size += size
        if self._size < WINDOW_BYTES // 2:
            return 0
        told, self._size = self._size, 0
        return told
