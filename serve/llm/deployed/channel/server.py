"""The replica's end of channels."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from serve.llm.backend import Operation
from serve.llm.deployed.channel import OPEN_SECONDS
from serve.llm.deployed.channel.frames import Frame, Kind, called, message_frame, size_read
from serve.llm.deployed.channel.window import Ahead
from serve.llm.deployed.channel.wire import Wire
from serve.llm.deployed.messages import Message

Run = Callable[[Operation, bytes], AsyncIterator[Message]]

logger = logging.getLogger("ray.serve")


class ChannelServer:
    """All channels that are open to this replica. ``run`` answers their calls."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open: set[_Answering] = set()

    async def open(self) -> AsyncIterator[str]:
        """Yields the path of a socket that takes one connection, and ends when that does.

        Where this is cancelled, so are its calls. Where there can be no socket, none is yielded.
        """
        answering = _Answering(self._run)
        self._open.add(answering)
        try:
            # Nobody else may reach into the folder.
            with tempfile.TemporaryDirectory(prefix="engine-") as folder:
                path = str(Path(folder) / "channel")
                server = await asyncio.get_running_loop().create_unix_server(answering.connected, path)
                try:
                    yield path
                    async with asyncio.timeout(OPEN_SECONDS):
                        await answering.made.wait()
                except TimeoutError:
                    return
                finally:
                    server.close()
            await answering.wire.closed.wait()
        except OSError as error:
            logger.warning("calls go by Serve's handle: no socket can be made: %s", error)
        finally:
            answering.cancel()
            self._open.remove(answering)

    def close(self) -> None:
        """Break them off, with their calls."""
        for answering in self._open:
            answering.wire.abort()


@dataclass(frozen=True)
class _Answer:
    task: asyncio.Task[None]
    ahead: Ahead


class _Answering:
    """The calls of one connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._calls: dict[int, _Answer] = {}
        self.made = asyncio.Event()
        self.wire = Wire(self._received)

    def connected(self) -> asyncio.Protocol:
        if self.made.is_set():
            # It goes to nobody.
            return asyncio.Protocol()
        self.made.set()
        return self.wire

    def cancel(self) -> None:
        self.wire.close()
        for answer in self._calls.values():
            answer.task.cancel()

    def _received(self, frame: Frame) -> None:
        if frame.kind is Kind.CALL:
            ahead = Ahead()
            task = asyncio.get_running_loop().create_task(self._answer(frame, ahead))
            self._calls[frame.call] = _Answer(task, ahead)
            task.add_done_callback(lambda _: self._calls.pop(frame.call))
        elif answer := self._calls.get(frame.call):
            if frame.kind is Kind.CANCEL:
                answer.task.cancel()
            elif frame.kind is Kind.READ:
                answer.ahead.read(size_read(frame))

    async def _answer(self, frame: Frame, ahead: Ahead) -> None:
        try:
            async with aclosing(self._run(*called(frame))) as messages:  # type: ignore[type-var]
                async for message in messages:
                    await ahead.room()
                    said = message_frame(frame.call, message)
                    self.wire.send(said)
                    ahead.sent(said.size)
                    await self.wire.drained()
                    if not self.wire.open:
                        return
            self.wire.send(Frame(frame.call, Kind.END))
        except asyncio.CancelledError as error:
            if not cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
                # Something that it waited for was cancelled, and not the call: who made it waits still.
                self._failed(frame, error)
            raise
        except Exception as error:
            logger.exception("a call failed")
            self._failed(frame, error)

    def _failed(self, frame: Frame, error: BaseException) -> None:
        self.wire.send(Frame(frame.call, Kind.FAILED, repr(error).encode(errors="replace")))
