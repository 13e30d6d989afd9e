"""The replica's end of a channel, whatever is at the other one."""

from __future__ import annotations

import asyncio
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from serve.llm.deployed.channel import server
from serve.llm.deployed.channel.frames import HEAD, call_frame
from tests.unit.serve.llm.channels import Replica, until


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
            replica = Replica()
            replica.hold.clear()
            paths = replica.channels.open()
            reader, writer = await asyncio.open_unix_connection(await anext(paths))
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            writer.write(call_frame(1, "chat", b"2").encode())
            await reader.read(1)
            writer.transport.abort()
            await ending
            await until(lambda: replica.cancelled == 1)

        asyncio.run(work())

    def test_calls_end_with_the_lease_that_is_taken_from_them(self) -> None:
        async def work() -> None:
            replica = Replica()
            replica.hold.clear()
            paths = replica.channels.open()
            reader, writer = await asyncio.open_unix_connection(await anext(paths))
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            writer.write(call_frame(1, "chat", b"2").encode())
            await reader.readexactly(HEAD.size)
            ending.cancel()
            await until(lambda: replica.cancelled == 1)
            await reader.read()
            writer.close()

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
            paths = replica.channels.open()
            _, writer = await asyncio.open_unix_connection(await anext(paths))
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(call_frame(1, "chat", b"1000000").encode())
            [answering] = replica.channels._open
            await until(lambda: answering.wire.held_up)
            replica.channels.close()
            assert await ending is None
            writer.transport.abort()

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
            paths = Replica().channels.open()
            reader, writer = await asyncio.open_unix_connection(await anext(paths))
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.read() == b""
            writer.close()
            await ending

        asyncio.run(work())

    def test_a_slow_reader_holds_up_its_own_answer(self) -> None:
        async def work() -> None:
            replica = Replica()
            paths = replica.channels.open()
            reader, writer = await asyncio.open_unix_connection(await anext(paths))
            ending: asyncio.Task[Any] = asyncio.create_task(anext(paths, None))  # type: ignore[arg-type]
            writer.write(call_frame(1, "chat", b"1000000").encode())
            await until(lambda: replica.said > 100)
            before = -1
            async with asyncio.timeout(30):
                while replica.said > before:
                    before = replica.said
                    await asyncio.sleep(0.2)
            assert before < 1_000_000
            async with asyncio.timeout(30):
                while replica.said == before:
                    await reader.read(2**16)
            writer.transport.abort()
            await ending
            await until(lambda: replica.running == 0)
            assert replica.said < 1_000_000

        asyncio.run(work())
