"""The deployment's class: one engine in one process, called by handle."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import orjson

from console import stage
from serve import direct, loopback, replica_log
from serve.llm.backend import Body, Operation, Tokens
from serve.llm.deployed.channel.server import ChannelServer
from serve.llm.deployed.engine import Engine, Plan, Tally
from serve.llm.deployed.messages import Chunks, Full, Message, Progress, Refused, Whole
from serve.llm.deployed.room import Room

AT_ONCE = 2
"""Messages of a stream that go as soon as there is something in them: a client sees the first token without delay."""

GATHER_SECONDS = 0.06
"""How long later ones gather chunks. A message costs more than the chunks in it, and nobody reads faster."""

BUSY_GATHER_SECONDS = 0.16
BUSY = 16
"""Where so many requests are worked on at once: each of them is slower, and what their messages cost slows all."""

HELD_BYTES = 2**18
"""Of chunks that nobody takes. The engine's stream is read no further before they are taken, and they wait for no later
ones."""

PROGRESS_SECONDS = 0.25
"""How long a call is silent before it is told what it takes: it may be given up at any moment."""


class EngineReplica:
    """What Serve calls. ``name``: of the backend."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, name: str, plan: Plan, on_loopback: bool
    ) -> None:
        if on_loopback:
            loopback.bind_replica()
        direct.none_here()
        replica_log.write_at_once(logging.WARNING)
        # Before the engine's library and torch are imported, which read it once.
        os.environ.update(plan.environment)
        with stage(f"load {name}"):
            self._engine = await plan.start()
        self._room = Room(plan.calls)
        self._channels = ChannelServer(self.run)

    async def run(self, operation: Operation, body: bytes) -> AsyncIterator[Message]:
        """One document, or a stream's chunks, some at a time; or an error, which may also end a stream.

        ``body`` is OpenAI's JSON. Where the call is cancelled the request is aborted in the engine.
        """
        if self._room.full:
            yield Full(self._room.waiting)
            return
        async with self._room:
            call = _Call(self._engine, operation, orjson.loads(body))
            try:
                async for message in call:
                    yield message
            finally:
                call.cancel()

    async def channel(self) -> AsyncIterator[str]:
        """See :meth:`serve.llm.deployed.channel.server.ChannelServer.open`."""
        async with aclosing(self._channels.open()) as paths:  # type: ignore[type-var]
            async for path in paths:
                yield path

    def running(self) -> int:
        """Requests in the engine, by its own count."""
        return self._engine.running()

    async def check_health(self) -> None:
        """Raises: Exception: the engine can answer no more."""
        try:
            await self._engine.check_health()
        except Exception:
            # Serve waits for its calls before it replaces this replica, and a channel is one.
            self._channels.close()
            raise

    def __del__(self) -> None:
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is not None:
            engine.shutdown()


def gather_seconds(running: int) -> float:
    """``running``: requests that the engine works on."""
    share = min(running / BUSY, 1)
    return GATHER_SECONDS + share * (BUSY_GATHER_SECONDS - GATHER_SECONDS)


def _until_next(period: float) -> float:
    """Seconds to the next of moments that are the same for all streams: who carries their messages wakes once for all
    of them."""
    return period - asyncio.get_running_loop().time() % period


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set by then."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class _Call:
    """Runs a request in a task of its own, and gathers what comes of it, as far as somebody takes it."""

    def __init__(self, engine: Engine, operation: Operation, body: Body) -> None:
        self._engine = engine
        self._operation = operation
        self._body = body
        self._tally = Tally()
        self._lines: list[bytes] = []
        self._held = 0
        self._last: Message | None = None
        self._news = asyncio.Event()
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        self._task.cancel()

    async def __aiter__(self) -> AsyncIterator[Message]:
        sent = 0
        told = Tokens()
        while True:
            while not await _within(self._news, PROGRESS_SECONDS):
                if (tokens := self._tally.tokens) != told:
                    told = tokens
                    yield Progress(tokens)
            if sent >= AT_ONCE and not self._due.is_set():
                await _within(self._due, _until_next(gather_seconds(self._engine.running())))
            ended = self._task.done()
            if lines := self._taken():
                sent += 1
                yield Chunks(b"\n".join(lines), self._tally.tokens, self._tally.version)
            if ended:
                self._task.result()
                if self._last is not None:
                    yield self._last
                return

    def _taken(self) -> list[bytes]:
        lines, self._lines, self._held = self._lines, [], 0
        self._news.clear()
        self._due.clear()
        self._room.set()
        return lines

    def _done(self, _: asyncio.Task[None]) -> None:
        self._news.set()
        self._due.set()

    async def _work(self) -> None:
        answer = await self._engine.answer(self._operation, self._body, self._tally)
        if isinstance(answer, Whole):
            self._last = replace(answer, version=self._tally.version)
            return
        if isinstance(answer, Refused):
            self._last = answer
            return
        # Closed here and now where the call is cancelled: that is what stops the engine.
        async with aclosing(answer):  # type: ignore[type-var]
            async for text in answer:
                if isinstance(text, Refused):
                    self._last = text
                    return
                line = text.encode()
                self._lines.append(line)
                self._held += len(line)
                self._news.set()
                if self._held >= HELD_BYTES:
                    self._due.set()
                    self._room.clear()
                    await self._room.wait()
