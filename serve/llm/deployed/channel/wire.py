"""One end of a channel, as the event loop has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from serve.llm.deployed.channel.frames import Frame, Reader


class Wire(asyncio.Protocol):
    """``received`` is called with each frame. Closed for good where the other end sends what is none."""

    def __init__(self, received: Callable[[Frame], None]) -> None:
        self._received = received
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._ended = False
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()
        if self._ended:
            # It was over before it came.
            transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._reader.feed(data)
        except ValueError:
            self.close()
            return
        for frame in frames:
            self._received(frame)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()
        self._writable.set()

    @property
    def open(self) -> bool:
        """Whether what is sent still goes anywhere. ``closed`` follows when all that was sent before has gone."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, frame: Frame) -> None:
        """Nothing where it is not open: whoever waits for an answer learns of that."""
        if self._transport is not None and self.open:
            self._transport.write(frame.encode())

    @property
    def held_up(self) -> bool:
        """Whether what was sent waits for its reader."""
        return not self._writable.is_set()

    async def drained(self) -> None:
        """Wait for a reader that is slower than what is sent."""
        await self._writable.wait()

    def close(self) -> None:
        """What was sent goes out before."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it without waiting for its reader."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()
