"""Calls of one channel that are read at paces of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.gateway.errors import Unavailable
from serve.llm.backend import Operation, Tokens
from serve.llm.deployed.channel import client, window
from serve.llm.deployed.channel.client import ChannelCall
from serve.llm.deployed.channel.frames import HEAD, Frame, message_frame
from serve.llm.deployed.channel.window import WINDOW_BYTES, Ahead, Untold
from serve.llm.deployed.messages import Chunks, Message, Whole
from tests.unit.serve.llm.channels import Opened, Replica, chunk, messages, ran, stood_still, until

CHUNKS, SIZE = 10_000, 3_000

MOST = WINDOW_BYTES + 2 * SIZE
"""What is made of a call that nobody reads: the window, what passes it, and the chunk that waits for its turn."""


async def begun(opened: Opened) -> ChannelCall:
    """A long call that has come as far as it does while nobody reads on."""
    call = await opened.call(f"{CHUNKS} of {SIZE}".encode())
    assert await call.next() == chunk(0, SIZE)
    assert 100 < await stood_still(lambda: opened.replica.said) < CHUNKS
    return call


def waiting(call: ChannelCall) -> list[int]:
    """The sizes of what has come and is not read."""
    frames = call._frames._queue  # type: ignore[attr-defined] # asyncio's own deque
    return [frame.size for frame in frames if frame is not None]


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestReaders:
    def test_one_that_stops_is_sent_no_more_while_others_read_on_and_misses_nothing(self) -> None:
        async def work(opened: Opened) -> None:
            call = await begun(opened)
            said = opened.replica.said
            assert said * SIZE <= MOST
            assert sum(waiting(call)) <= MOST
            for _ in range(20):
                assert len(await messages(await opened.call(b"50"))) == 50
            assert opened.replica.said == said + 20 * 50
            for number in range(1, CHUNKS):
                assert await call.next() == chunk(number, SIZE)
            assert await call.next() is None

        ran(work)

    def test_one_that_is_cancelled_where_it_stopped_ends_in_the_replica(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Else it ends with its channel too, which is renewed soon.
        monkeypatch.setattr(client, "LEASE_SECONDS", 100.0)

        async def work(opened: Opened) -> None:
            call = await begun(opened)
            call.cancel()
            await until(lambda: opened.replica.running == 0)
            assert len(await messages(await opened.call(b"3"))) == 3

        ran(work)

    def test_one_whose_connection_is_lost_where_it_stopped_ends_in_the_replica(self) -> None:
        async def work(opened: Opened) -> None:
            call = await begun(opened)
            call._channel._wire.abort()
            await until(lambda: opened.replica.running == 0)
            with pytest.raises(Unavailable, match="went while it answered"):
                await messages(call)

        ran(work)

    def test_messages_larger_than_the_window_pass(self) -> None:
        async def work(opened: Opened) -> None:
            size = 3 * WINDOW_BYTES
            assert await messages(await opened.call(f"whole of {size}".encode())) == [Whole(b"{}".ljust(size), "1")]
            answer = await messages(await opened.call(f"4 of {size}".encode()))
            assert answer == [chunk(number, size) for number in range(4)]

        ran(work)

    def test_the_replica_is_told_of_half_a_window_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[int] = []

        def read_frame(number: int, size: int) -> Frame:
            told.append(size)
            return actual(number, size)

        actual = client.read_frame
        monkeypatch.setattr(client, "read_frame", read_frame)

        async def work(opened: Opened) -> None:
            await messages(await opened.call(b"1000"))
            assert told == []
            await messages(await opened.call(f"1000 of {SIZE}".encode()))
            assert len(told) == 1000 * SIZE * 2 // WINDOW_BYTES

        ran(work)


class Various(Replica):
    """Chunks of the sizes that the body says."""

    async def run(self, operation: Operation, body: bytes) -> AsyncIterator[Message]:
        self.running += 1
        try:
            for number, size in enumerate(orjson.loads(body)):
                yield various(number, size)
        finally:
            self.running -= 1


def various(number: int, size: int) -> Chunks:
    return Chunks(b"x" * size, Tokens(1, number), "1")


CALLS = st.lists(
    # Sizes, pauses between them, and after how many one is cancelled.
    st.tuples(
        st.lists(st.integers(0, 9_000), max_size=12),
        st.lists(st.integers(0, 5), min_size=1, max_size=5),
        st.none() | st.integers(0, 12),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestAnyPace:
    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(1, 6_000), CALLS)
    def test_all_that_is_read_comes_in_order_and_no_more_waits_than_may(
        self, size: int, calls: list[tuple[list[int], list[int], int | None]]
    ) -> None:
        async def read(call: ChannelCall, sizes: list[int], pauses: list[int], most: int | None) -> None:
            largest = message_frame(1, various(len(sizes), max(sizes, default=0))).size
            for number, length in enumerate(sizes[:most]):
                for _ in range(pauses[number % len(pauses)]):
                    await asyncio.sleep(0)
                    # The end has no content, and waits for nobody.
                    assert sum(waiting(call)) < size + largest + HEAD.size
                assert await call.next() == various(number, length)
            if most is not None:
                call.cancel()
            assert await call.next() is None

        async def work(opened: Opened) -> None:
            async with asyncio.timeout(30):
                opening = [(await opened.call(orjson.dumps(sizes)), sizes, *how) for sizes, *how in calls]
                await asyncio.gather(*(read(*each) for each in opening))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window, "WINDOW_BYTES", size)
            ran(work, Various)


class TestWindow:
    @given(st.integers(1, 200), st.lists(st.tuples(st.integers(1, 500), st.integers(0, 3))))
    def test_who_sends_goes_on_once_all_is_read(self, size: int, steps: list[tuple[int, int]]) -> None:
        """Whatever was told of: nobody waits for each other."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window, "WINDOW_BYTES", size)
            ahead, untold = Ahead(), Untold()
            unread: list[int] = []

            def take() -> None:
                if told := untold.read(unread.pop(0)):
                    ahead.read(told)

            for sent, reads in steps:
                while not ahead._room.is_set():
                    assert unread
                    take()
                assert sum(unread) < size
                ahead.sent(sent)
                unread.append(sent)
                for _ in range(min(reads, len(unread))):
                    take()
