"""The replica's end of a channel, whatever is at the other one."""

from __future__ import annotations

import asyncio
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from serve.llm.deployed.channel import server
from serve.llm.deployed.channel.frames import HEAD, Frame, Kind, Reader, call_frame, read_frame
from serve.llm.deployed.channel.window import WINDOW_BYTES
from tests.unit.serve.llm.channels import Replica, stood_still, until


class Connected:
    """A process that has connected, and sends what it likes. ``ending``: of Serve's call."""

    def __init__(
        self, replica: Replica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, paths: Any
    ) -> None:
        self.replica = replica
        self.reader = reader
        self.writer = writer
        self.ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))

    @classmethod
    async def to(cls, replica: Replica) -> Connected:
        paths = replica.channels.open()
        return cls(replica, *await asyncio.open_unix_connection(await anext(paths)), paths)

    @classmethod
    async def answered(cls) -> Connected:
        """With a call whose answer has begun and does not go on."""
        replica = Replica()
        replica.hold.clear()
        connected = await cls.to(replica)
        connected.ask(2)
        await connected.reader.readexactly(HEAD.size)
        return connected

    def ask(self, chunks: int, size: int = 0) -> None:
        self.writer.write(call_frame(1, "chat", f"{chunks} of {size}".encode()).encode())

    async def all_sent(self) -> int:
        """Bytes of messages that come until none does."""
        frames, found = Reader(), 0
        try:
            while True:
                async with asyncio.timeout(0.5):
                    found += sum(frame.size for frame in frames.feed(await self.reader.read(2**16)))
        except TimeoutError:
            return found

    async def go(self) -> None:
        self.writer.transport.abort()
        assert await self.ending is None
        await until(lambda: self.replica.running == 0)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestSocket:
    def test_nobody_else_reaches_it_and_nothing_is_left_of_it(self) -> None:
        async def work() -> None:
            paths = Replica().channels.open()
            path = Path(await anext(paths))
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            _, writer = await asyncio.open_unix_connection(path)
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            await until(lambda: not path.parent.exists())
            writer.close()
            assert await ending is None

        asyncio.run(work())

    def test_where_nobody_connects_serves_call_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "OPEN_SECONDS", 0.02)

        async def work() -> None:
            paths = Replica().channels.open()
            path = Path(await anext(paths))
            assert [path async for path in paths] == []
            assert not path.parent.exists()

        asyncio.run(work())

    def test_calls_end_with_the_process_that_made_them(self) -> None:
        async def work() -> None:
            connected = await Connected.answered()
            await connected.go()
            assert connected.replica.cancelled == 1

        asyncio.run(work())

    def test_calls_end_with_the_lease_that_is_taken_from_them(self) -> None:
        async def work() -> None:
            connected = await Connected.answered()
            connected.ending.cancel()
            await until(lambda: connected.replica.cancelled == 1)
            await connected.reader.read()
            connected.writer.close()

        asyncio.run(work())

    def test_a_connection_that_comes_too_late_is_closed_at_once(self) -> None:
        async def work() -> None:
            replica = Replica()
            paths = replica.channels.open()
            path = await anext(paths)
            [answering] = replica.channels._open
            answering.cancel()
            reader, writer = await asyncio.open_unix_connection(path)
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            assert await reader.read() == b""
            writer.close()
            assert await ending is None

        asyncio.run(work())

    def test_one_whose_reader_stands_still_is_broken_off_all_the_same(self) -> None:
        async def work() -> None:
            replica = Replica()
            connected = await Connected.to(replica)
            connected.writer.transport.pause_reading()  # type: ignore[attr-defined]
            connected.ask(1_000_000)
            [answering] = replica.channels._open
            await until(lambda: answering.wire.held_up)
            replica.channels.close()
            assert await connected.ending is None
            connected.writer.transport.abort()

        asyncio.run(work())

    def test_none_is_given_where_there_can_be_none(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")

        async def work() -> None:
            assert await anext(Replica().channels.open(), None) is None  # type: ignore[arg-type]

        asyncio.run(work())
        assert "no socket can be made" in caplog.text

    def test_who_sends_something_else_is_cut_off(self) -> None:
        async def work() -> None:
            connected = await Connected.to(Replica())
            connected.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await connected.reader.read() == b""
            await connected.go()

        asyncio.run(work())

    def test_a_slow_reader_holds_up_its_own_answer(self) -> None:
        async def work() -> None:
            replica = Replica()
            connected = await Connected.to(replica)
            connected.ask(1_000_000)
            await until(lambda: replica.said > 100)
            before = await stood_still(lambda: replica.said)
            async with asyncio.timeout(30):
                while replica.said == before:
                    await connected.reader.read(2**16)
            await connected.go()
            assert replica.said < 1_000_000

        asyncio.run(work())

    @pytest.mark.parametrize("how", ["cancelled", "lost"])
    def test_who_takes_all_and_says_nothing_of_it_is_sent_a_window_until_it_does(self, how: str) -> None:
        async def work() -> None:
            connected = await Connected.to(Replica())
            size = 10_000
            connected.ask(1_000_000, size)
            sent = await connected.all_sent()
            assert WINDOW_BYTES <= sent < WINDOW_BYTES + 2 * size
            connected.writer.write(read_frame(1, sent // 2).encode())
            more = await connected.all_sent()
            assert abs(more - sent // 2) < 2 * size
            if how == "cancelled":
                connected.writer.write(Frame(1, Kind.CANCEL).encode())
                await until(lambda: connected.replica.running == 0)
            await connected.go()

        asyncio.run(work())
