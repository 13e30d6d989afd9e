"""An ingress process's end of channels."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

import ray

from serve.gateway.errors import ServeError
from serve.llm.backend import Operation
from serve.llm.deployed.calls import Call, failed, gone, taken
from serve.llm.deployed.channel import LEASE_SECONDS, OPEN_SECONDS
from serve.llm.deployed.channel.frames import LAST, Frame, Kind, call_frame, message_of, read_frame
from serve.llm.deployed.channel.window import Untold
from serve.llm.deployed.channel.wire import Wire
from serve.llm.deployed.messages import Message

IDLE_SECONDS = 60.0
"""How long a channel is kept open for a backend that nobody calls."""

RETRY_SECONDS = 10.0

NOWHERE_SECONDS = 60.0
"""How long it is believed that there can be none, as where the replica runs on another machine."""

logger = logging.getLogger("ray.serve")


class Channels:
    """For each application that is called a channel to its replica, kept in the background.

    ``handle``: of an application, Serve's of the deployment.
    """

    def __init__(self, backend: str, handle: Callable[[str], Any]) -> None:
        self._backend = backend
        self._handle = handle
        self._open: dict[str, Channel] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._called: dict[str, float] = {}

    def call(self, application: str, operation: Operation, body: bytes) -> ChannelCall | None:
        """``None``: there is none just now."""
        self._called[application] = time.monotonic()
        if application not in self._keeping:
            self._keeping[application] = asyncio.get_running_loop().create_task(
                # Serve would hold what it asks to be part of this call, and to be cancelled with it.
                self._keep(application),
                context=Context(),
            )
        channel = self._open.get(application)
        return channel.call(operation, body) if channel is not None and channel.usable else None

    async def close(self) -> None:
        keeping = [*self._keeping.values()]
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

    async def _keep(self, application: str) -> None:
        try:
            # Where Ray has been left, Serve's handle would start a new one.
            while time.monotonic() - self._called[application] < IDLE_SECONDS and ray.is_initialized():
                again = await self._renewed(application)
                await asyncio.sleep(again)
        finally:
            if channel := self._open.pop(application, None):
                channel.retire()
            del self._keeping[application], self._called[application]

    async def _renewed(self, application: str) -> float:
        """Seconds after which it is to be done again."""
        try:
            channel = await Channel.open(self._backend, self._handle(application))
        except Exception as error:  # noqa: BLE001 - calls go by the handle
            logger.debug("backend %s: no channel: %r", self._backend, error)
            nowhere = isinstance(error, OSError | StopAsyncIteration) and not isinstance(error, TimeoutError)
            return NOWHERE_SECONDS if nowhere else RETRY_SECONDS
        if before := self._open.get(application):
            before.retire()
        self._open[application] = channel
        return LEASE_SECONDS / 2


class Channel:
    """Made by :meth:`open`."""

    def __init__(self, backend: str, lease: Any) -> None:
        self._backend = backend
        self._lease = lease
        self._wire = Wire(self._received)
        self._numbers = itertools.count(1)
        self._calls: dict[int, ChannelCall] = {}
        self._retired = False
        self._until = 0.0
        self._held: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, backend: str, handle: Any) -> Channel:
        """Raises: Exception: any of Ray's or of the operating system's, TimeoutError, or StopAsyncIteration where the
        replica has no socket to give.
        """
        until = time.monotonic() + LEASE_SECONDS
        lease = handle.channel.remote()
        made = cls(backend, lease)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await loop.create_unix_connection(lambda: made._wire, await anext(lease))
        except BaseException:
            made._wire.close()
            lease.cancel()
            raise
        made._until = until
        made._held = loop.create_task(made._hold())
        return made

    @property
    def usable(self) -> bool:
        return not self._retired and self._wire.open and not self._wire.held_up and time.monotonic() < self._until

    def call(self, operation: Operation, body: bytes) -> ChannelCall:
        number = next(self._numbers)
        call = self._calls[number] = ChannelCall(self, self._backend, number)
        self._wire.send(call_frame(number, operation, body))
        return call

    def retire(self) -> None:
        """Close it as soon as no call is under way."""
        self._retired = True
        if not self._calls:
            self._wire.close()

    def cancel(self, number: int) -> None:
        if number in self._calls:
            self._wire.send(Frame(number, Kind.CANCEL))
            self._ended(number)

    def read(self, number: int, size: int) -> None:
        """Let as much again of a call come. Nothing where all of it has."""
        if number in self._calls:
            self._wire.send(read_frame(number, size))

    def _ended(self, number: int) -> None:
        del self._calls[number]
        if self._retired and not self._calls:
            self._wire.close()

    def _received(self, frame: Frame) -> None:
        if call := self._calls.get(frame.call):
            call.take(frame)
            if frame.kind in LAST:
                # Whether or not anybody reads so far.
                self._ended(frame.call)

    async def _hold(self) -> None:
        """Until the connection is closed, and with it Serve's call."""
        try:
            async with asyncio.timeout(max(self._until - time.monotonic(), 0)):
                await self._wire.closed.wait()
        except TimeoutError:
            self.retire()
            await self._wire.closed.wait()
        for call in [*self._calls.values()]:
            call.take(None)
        try:
            await anext(self._lease, None)
        except Exception as error:  # noqa: BLE001 - the replica has gone
            logger.debug("backend %s: a channel ended: %r", self._backend, error)


class ChannelCall(Call):
    def __init__(self, channel: Channel, backend: str, number: int) -> None:
        super().__init__(backend)
        self._channel = channel
        self._number = number
        # Not more than a window and a message.
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._untold = Untold()

    def take(self, frame: Frame | None) -> None:
        """``None``: the connection is lost."""
        self._frames.put_nowait(frame)

    async def _said(self) -> Message | ServeError | None:
        frame = await self._frames.get()
        if frame is None:
            return gone(self._backend, begun=self._begun)
        if told := self._untold.read(frame.size):
            self._channel.read(self._number, told)
        match frame.kind:
            case Kind.END:
                return None
            case Kind.FAILED:
                return failed(self._backend, frame.content.decode())
            case _:
                return self._taken(frame)

    def _stop(self) -> None:
        self._channel.cancel(self._number)
        # For whoever waits for what comes next.
        self._frames.put_nowait(None)

    def _taken(self, frame: Frame) -> Message | ServeError:
        try:
            return taken(self._backend, message_of(frame))
        except (ValueError, TypeError) as error:
            # From a replica that was deployed with other code.
            return failed(self._backend, repr(error))
