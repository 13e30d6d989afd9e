"""An answer that takes its time: given up when its client goes, and sent in pieces as they come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from starlette.types import Receive, Send

from serve.gateway.errors import ClientGone, InternalError, RequestTimeout, ServeError
from serve.gateway.transport import Chunks

MOST_HELD_BYTES = 64 * 1024
"""Of chunks that are there and not sent. More are not asked for before: a client that reads slowly slows its stream."""

LAST_WORDS_SECONDS = 1.0
"""How long the end of a stream that failed may take to go out: its client may read no more."""

CLOSING_SECONDS = 5.0

logger = logging.getLogger("ray.serve")


class WhileConnected:
    """Cancels the task that is in its block once the client goes, as ``asyncio.timeout`` does once the time is up.

    The request's body must have been read. Leaving the block raises ClientGone then, whatever the cancellation became.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._task = task
        self._cancelling = task.cancelling()
        self._listener = asyncio.create_task(self._listen())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._listener.cancel()
        if self._gone and self._task.uncancel() <= self._cancelling and kind is not None:
            raise ClientGone from error

    async def _listen(self) -> None:
        # Whoever can't be listened to any more has gone too.
        with contextlib.suppress(Exception):
            while (await self._receive())["type"] != "http.disconnect":
                pass
        self._gone = True
        self._task.cancel()


class Forwarding:
    """Sends chunks on, those in one piece that are there at once. ``sent`` and ``error`` are what became of it.

    ``seconds``: the longest pause, of who makes the chunks or of who reads them.
    """

    def __init__(self, chunks: Chunks, receive: Receive, send: Send, seconds: float, request_id: str) -> None:
        self.sent = 0
        self.error: ServeError | None = None
        self._chunks = chunks
        self._receive = receive
        self._send = send
        self._seconds = seconds
        self._request_id = request_id
        self._parts: list[bytes] = []
        self._held = 0
        self._there = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def run(self, start: Mapping[str, Any]) -> None:
        """Send everything, with the error in its last words where there is one, and close the chunks."""
        gathering = asyncio.create_task(self._gather())
        try:
            # Not around what follows: once the end is sent, a server says that the client has gone.
            async with WhileConnected(self._receive):
                await self._send({"type": "http.response.start", **start})
                await self._send_on()
        except ClientGone as gone:
            self.error = gone
        except asyncio.CancelledError:
            self.error = ClientGone()
            raise
        except Exception:
            self.error = InternalError()
            raise
        finally:
            gathering.cancel()
            try:
                await asyncio.wait({gathering}, timeout=CLOSING_SECONDS)
            finally:
                await self._close()

    async def _send_on(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds) as limit:
                while not self._ended:
                    await self._there.wait()
                    if self._ended:
                        break
                    await self._send_piece(self._taken(), more=True)
                    limit.reschedule(loop.time() + self._seconds)
        except TimeoutError:
            self.error = RequestTimeout(self._seconds)
        piece = self._taken()
        if self.error is not None:
            piece += self._chunks.failed(self.error)
        # A client that has stopped reading need not be told.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds if self.error is None else LAST_WORDS_SECONDS):
                await self._send_piece(piece, more=False)

    async def _gather(self) -> None:
        try:
            async for chunk in self._chunks:
                self._parts.append(chunk)
                self._held += len(chunk)
                self._there.set()
                if self._held > MOST_HELD_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except ServeError as error:
            self.error = error
        except Exception:
            logger.exception("the stream of request %s failed", self._request_id)
            self.error = InternalError()
        self._ended = True
        self._there.set()

    def _taken(self) -> bytes:
        parts, self._parts, self._held = self._parts, [], 0
        self._there.clear()
        self._room.set()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _send_piece(self, piece: bytes, *, more: bool) -> None:
        try:
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        except OSError as error:
            raise ClientGone from error
        self.sent += len(piece)

    async def _close(self) -> None:
        try:
            await self._chunks.aclose()
        except Exception:
            logger.exception("the stream of request %s could not be closed", self._request_id)
