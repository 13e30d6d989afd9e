"""Both ends of a channel over real sockets, with a stand-in for Serve's handle and for what answers."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from serve.llm.backend import Operation, Tokens
from serve.llm.deployed.calls import Call
from serve.llm.deployed.channel import client, server
from serve.llm.deployed.channel.client import ChannelCall
from serve.llm.deployed.messages import Chunks, Full, Message, Refused, Whole

APPLICATION = "default"


class Replica:
    """What :class:`serve.llm.deployed.replica.EngineReplica` is to the channel: as many chunks as the body says.

    ``b"3 of 100"``: each of 100 bytes. ``run`` stops before a chunk where ``hold`` is clear.
    """

    def __init__(self) -> None:
        self.channels = server.ChannelServer(self.run)
        self.hold = asyncio.Event()
        self.hold.set()
        self.running = 0
        self.cancelled = 0
        self.said = 0
        self.leases = 0

    async def run(self, operation: Operation, body: bytes) -> AsyncIterator[Message]:
        self.running += 1
        what, _, size = body.partition(b" of ")
        try:
            if what == b"whole":
                yield Whole(b"{}".ljust(int(size or 0)), "1")
            elif body == b"refused":
                yield Refused(400, "invalid_value", "seed: no", "seed")
            elif body == b"gone":
                yield Refused(503, None, "the engine has gone")
            elif body == b"full":
                yield Full(7)
            elif body == b"cancels":
                # Not the call: something that it waits for.
                waited = asyncio.get_running_loop().create_future()
                waited.cancel()
                await waited
            elif body == b"fails":
                raise RuntimeError("it broke")
            else:
                for number in range(int(what)):
                    self.said += 1
                    yield chunk(number, int(size or 0), operation)
                    await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def chunk(number: int, size: int = 0, operation: Operation = "chat") -> Chunks:
    return Chunks(f"{operation} {number}".encode().ljust(size), Tokens(1, number), "1")


class Lease:
    """Serve's answer to a call of ``channel``."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._paths = replica.channels.open()
        replica.leases += 1
        self._ended = False

    async def __anext__(self) -> str:
        try:
            return await anext(self._paths)
        except StopAsyncIteration:
            if not self._ended:
                self._ended = True
                self._replica.leases -= 1
            raise

    def cancel(self) -> None:
        self._replica.leases -= 1


class Handle:
    """Serve's handle of a deployment with this replica. ``opened``: how often a channel was asked for."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.opened = 0
        self.channel = self

    def remote(self) -> Lease:
        self.opened += 1
        return Lease(self._replica)


class Elsewhere:
    """The handle of a replica on another machine, where there is no such path here."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "channel")
        self.channel = self
        self.cancelled = False

    def remote(self) -> Elsewhere:
        return self

    async def __anext__(self) -> str:
        return self._path

    def cancel(self) -> None:
        self.cancelled = True


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def stood_still(count: Callable[[], int]) -> int:
    """What it comes to."""
    before = -1
    async with asyncio.timeout(30):
        while (now := count()) != before:
            before = now
            await asyncio.sleep(0.2)
    return now


async def messages(call: Call) -> list[Message]:
    found = []
    while (message := await call.next()) is not None:
        found.append(message)
    return found


class Opened:
    """An ingress process with channels to a replica."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.handle = Handle(self.replica)
        self.channels = client.Channels("small", lambda _: self.handle)

    async def call(self, body: bytes) -> ChannelCall:
        async with asyncio.timeout(30):
            while (call := self.channels.call(APPLICATION, "chat", body)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return call


def ran(work: Callable[[Opened], Awaitable[None]], replica: Callable[[], Replica] = Replica) -> None:
    """Run ``work``, and see that nothing is left of any channel after it.

    What was there before is not searched for what is left: in a process with all tests' modules that takes a second.
    """

    async def whole() -> None:
        opened = Opened(replica())
        # Where both ends wait for each other, neither has a limit.
        async with asyncio.timeout(60):
            await work(opened)
        await opened.channels.close()
        await until(lambda: opened.replica.leases == 0)
        await until(lambda: opened.replica.running == 0)

    gc.freeze()
    try:
        asyncio.run(whole())
        gc.collect()
    finally:
        gc.unfreeze()
