"""Calls of a replica over a connection of the ingress's own: real sockets, with a stand-in for Serve's handle."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.errors import BackendError, Overloaded, Unavailable
from serve.llm.backend import Operation, Tokens
from serve.llm.deployed.calls import Call, ReplicaGone
from serve.llm.deployed.channel import client, server
from serve.llm.deployed.channel.client import ChannelCall
from serve.llm.deployed.channel.frames import (
    HEAD,
    Frame,
    Kind,
    Reader,
    call_frame,
    called,
    message_frame,
    message_of,
)
from serve.llm.deployed.messages import Chunks, Full, Message, Refused, Whole
from serve.llm.deployed.refusals import FAILED
from serve.llm.deployed.room import Room

APPLICATION = "default"

NUMBERS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 2**53)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Chunks, st.binary(), st.builds(Tokens, COUNTS, COUNTS, COUNTS), st.text()),
    st.builds(Whole, st.binary(), st.text()),
    st.builds(Refused, st.integers(400, 599), st.none() | st.text(), st.text(), st.none() | st.text()),
    st.builds(Full, COUNTS),
)


class TestFrames:
    @given(st.lists(st.builds(Frame, NUMBERS, st.sampled_from(Kind), st.binary())), st.lists(st.integers(1, 40)))
    def test_come_out_whole_and_in_order_from_any_pieces(self, frames: list[Frame], sizes: list[int]) -> None:
        sent = b"".join(frame.encode() for frame in frames)
        reader, found, at = Reader(), [], 0
        for size in sizes:
            found += reader.feed(sent[at : at + size])
            at += size
        assert found + reader.feed(sent[at:]) == frames

    @given(NUMBERS, MESSAGES)
    def test_a_message_is_what_it_was(self, number: int, message: Message) -> None:
        frame = message_frame(number, message)
        assert frame.call == number
        assert message_of(frame) == message

    @given(st.sampled_from(["chat", "completions", "embeddings"]), st.binary())
    def test_a_call_is_what_it_was(self, operation: Operation, body: bytes) -> None:
        assert called(call_frame(1, operation, body)) == (operation, body)

    @pytest.mark.parametrize("kind", [0, 9, 255])
    def test_what_is_no_frame_is_said(self, kind: int) -> None:
        with pytest.raises(ValueError, match="is not a valid Kind"):
            Reader().feed(HEAD.pack(1, kind, 0))

    def test_what_is_no_message_is_said(self) -> None:
        with pytest.raises(ValueError, match="is no message"):
            message_of(call_frame(1, "chat", b"{}"))


class TestRoom:
    def test_lets_in_so_many_and_others_in_their_order(self) -> None:
        async def work() -> None:
            room, entered, leave = Room(2), [], asyncio.Semaphore(0)

            async def call(number: int) -> None:
                async with room:
                    entered.append(number)
                    await leave.acquire()

            tasks = [asyncio.create_task(call(number)) for number in range(4)]
            await asyncio.sleep(0)
            assert entered == [0, 1]
            assert (room.waiting, room.full) == (2, True)
            tasks[2].cancel()
            await asyncio.sleep(0)
            assert (room.waiting, room.full) == (1, False)
            for _ in range(3):
                leave.release()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert entered == [0, 1, 3]
            assert room.waiting == 0

        asyncio.run(work())


class Replica:
    """What :class:`serve.llm.deployed.replica.EngineReplica` is to the channel: as many chunks as the body says.

    ``run`` stops before a chunk where ``hold`` is clear.
    """

    def __init__(self) -> None:
        self.channels = server.Channels(self.run)
        self.hold = asyncio.Event()
        self.hold.set()
        self.running = 0
        self.cancelled = 0
        self.said = 0
        self.leases = 0

    async def run(self, operation: Operation, body: bytes) -> AsyncIterator[Message]:
        self.running += 1
        try:
            if body == b"whole":
                yield Whole(b"{}", "1")
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
                for number in range(int(body)):
                    self.said += 1
                    yield Chunks(f"{operation} {number}".encode(), Tokens(1, number), "1")
                    await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


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


async def messages(call: Call) -> list[Message]:
    found = []
    while (message := await call.next()) is not None:
        found.append(message)
    return found


class Opened:
    """An ingress process with channels to a replica."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.handle = Handle(self.replica)
        self.channels = client.Channels("small", lambda _: self.handle)

    async def call(self, body: bytes) -> ChannelCall:
        async with asyncio.timeout(30):
            while (call := self.channels.call(APPLICATION, "chat", body)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return call


def ran(work: Callable[[Opened], Awaitable[None]]) -> None:
    """Run ``work``, and see that nothing is left of any channel after it."""

    async def whole() -> None:
        opened = Opened()
        await work(opened)
        await opened.channels.close()
        await until(lambda: opened.replica.leases == 0)
        await until(lambda: opened.replica.running == 0)

    asyncio.run(whole())
    gc.collect()


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both kinds that Ray's workers may have."""
    asyncio.set_event_loop_policy(request.param())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def in_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ingress process is."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestCalls:
    def test_the_first_goes_by_the_handle_and_a_channel_is_opened_for_those_after_it(self) -> None:
        async def work(opened: Opened) -> None:
            assert opened.channels.call(APPLICATION, "chat", b"1") is None
            assert len(await messages(await opened.call(b"1"))) == 1
            assert opened.handle.opened == 1

        ran(work)

    def test_many_at_once_each_get_their_own(self) -> None:
        async def work(opened: Opened) -> None:
            calls = [await opened.call(str(count).encode()) for count in range(1, 40)]
            answers = await asyncio.gather(*(messages(call) for call in calls))
            for count, answer in enumerate(answers, 1):
                assert answer == [Chunks(f"chat {at}".encode(), Tokens(1, at), "1") for at in range(count)]

        ran(work)

    def test_a_document(self) -> None:
        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole")) == [Whole(b"{}", "1")]

        ran(work)

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"refused", BackendError(400, "invalid_value", "seed: no", "seed")),
            (b"gone", Unavailable("the engine has gone")),
            (b"full", Overloaded(7, "requests for backend small")),
            (b"fails", BackendError(500, "server_error", FAILED)),
            (b"cancels", BackendError(500, "server_error", FAILED)),
        ],
    )
    def test_errors_are_raised(self, body: bytes, error: Exception) -> None:
        async def work(opened: Opened) -> None:
            call = await opened.call(body)
            with pytest.raises(type(error)) as caught:
                await call.next()
            assert type(caught.value) is type(error)
            assert caught.value.args == error.args
            assert await call.next() is None

        ran(work)

    @pytest.mark.parametrize("content", [b"?", b"[1, 2, 3]\n{}"])
    def test_a_replica_of_other_code_that_says_something_else_is_an_error_too(
        self, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        monkeypatch.setattr(server, "message_frame", lambda number, _: Frame(number, Kind.WHOLE, content))

        async def work(opened: Opened) -> None:
            call = await opened.call(b"whole")
            with pytest.raises(BackendError) as caught:
                await call.next()
            assert caught.value.status == 500

        ran(work)

    def test_one_that_is_cancelled_stops_and_others_go_on(self) -> None:
        async def work(opened: Opened) -> None:
            first, second = await opened.call(b"1000000"), await opened.call(b"3")
            opened.replica.hold.clear()
            await first.next()
            await second.next()
            first.cancel()
            await until(lambda: opened.replica.cancelled == 1)
            assert await first.next() is None
            opened.replica.hold.set()
            assert len(await messages(second)) == 2

        ran(work)

    def test_whoever_waits_for_a_message_of_a_cancelled_one_gets_none(self) -> None:
        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            waiting = asyncio.create_task(call.next())
            await asyncio.sleep(0)
            call.cancel()
            assert await waiting is None

        ran(work)

    def test_who_is_cancelled_while_waiting_cancels_the_call(self) -> None:
        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            waiting = asyncio.create_task(call.next())
            await asyncio.sleep(0)
            waiting.cancel()
            await until(lambda: opened.replica.cancelled == 1)

        ran(work)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestReplicaGoes:
    def test_an_answer_that_had_begun_ends_in_an_error_and_others_go_by_the_handle(self) -> None:
        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            opened.replica.channels.close()
            with pytest.raises(Unavailable, match="went while it answered"):
                await call.next()
            assert opened.channels.call(APPLICATION, "chat", b"1") is None

        ran(work)

    def test_a_call_that_it_had_not_answered_may_be_made_again(self) -> None:
        async def work(opened: Opened) -> None:
            call = await opened.call(b"1")
            opened.replica.channels.close()
            with pytest.raises(ReplicaGone):
                await call.next()

        ran(work)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestLeases:
    def test_a_channel_is_renewed_and_the_one_before_ends_with_its_last_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            await until(lambda: opened.handle.opened == 4)
            # The first still has its call, and there is the newest.
            assert 2 <= opened.replica.leases <= 3
            opened.replica.hold.set()
            assert len(await messages(call)) == 1

        ran(work)

    def test_nothing_is_called_over_one_that_could_not_be_renewed_in_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole"))
            opened.handle.channel = Elsewhere(Path("/nowhere"))  # type: ignore[assignment]
            # Serve can stop the replica then: nothing holds it.
            await until(lambda: opened.replica.leases == 0)
            assert opened.channels.call(APPLICATION, "chat", b"1") is None

        ran(work)

    def test_an_answer_that_nobody_reads_to_its_end_holds_no_channel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.2)

        async def work(opened: Opened) -> None:
            call = await opened.call(b"whole")
            assert await call.next() == Whole(b"{}", "1")
            opened.handle.channel = Elsewhere(Path("/nowhere"))  # type: ignore[assignment]
            await until(lambda: opened.replica.leases == 0)

        ran(work)

    def test_none_is_kept_for_an_application_that_nobody_calls_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.05)
        monkeypatch.setattr(client, "IDLE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole"))
            await until(lambda: opened.replica.leases == 0)
            assert len(await messages(await opened.call(b"1"))) == 1

        ran(work)

    def test_one_is_nobodys_part_who_happened_to_call_first(self) -> None:
        """Serve cancels what it was asked for in the context of a call with that call."""
        whose = contextvars.ContextVar("whose", default="nobody's")
        found = []

        async def work(opened: Opened) -> None:
            def handle(_: str) -> Handle:
                found.append(whose.get())
                return opened.handle

            opened.channels = client.Channels("small", handle)
            whose.set("the first caller's")
            await messages(await opened.call(b"1"))

        ran(work)
        assert found == ["nobody's"]

    def test_none_is_asked_for_where_ray_has_been_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Serve's handle would start another Ray."""
        monkeypatch.setattr(ray, "is_initialized", lambda: False)

        async def work(opened: Opened) -> None:
            assert opened.channels.call(APPLICATION, "chat", b"1") is None
            await until(lambda: not opened.channels._keeping)
            assert opened.handle.opened == 0

        ran(work)

    def test_on_another_machine_there_is_none_and_serve_is_not_left_waiting(self, tmp_path: Path) -> None:
        async def work() -> None:
            elsewhere = Elsewhere(tmp_path)
            channels = client.Channels("small", lambda _: elsewhere)
            assert channels.call(APPLICATION, "chat", b"1") is None
            await until(lambda: elsewhere.cancelled)
            assert channels.call(APPLICATION, "chat", b"1") is None
            await channels.close()

        asyncio.run(work())


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
