"""What Serve asks of an engine's replica, and what it says of calls that it works on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.llm.backend import Body, Operation, Tokens
from serve.llm.deployed import replica as module
from serve.llm.deployed.channel.window import WINDOW_BYTES
from serve.llm.deployed.engine import Tally
from serve.llm.deployed.messages import Chunks, Message, Progress, Refused, Whole
from serve.llm.deployed.replica import HELD_BYTES, EngineReplica
from serve.llm.deployed.room import Room
from tests.unit.serve.llm.channels import Opened, Replica, messages, ran, stood_still, until


class Slow:
    """An engine that makes a token whenever it is told to, and says them in a stream, or together at the end."""

    def __init__(self) -> None:
        self.make = asyncio.Semaphore(0)

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        tally.inputs["a"] = 7
        if body.get("stream"):
            return self._texts(tally)
        for _ in range(3):
            await self.make.acquire()
            tally.output += 1
        return Whole(b"{}")

    async def _texts(self, tally: Tally) -> AsyncIterator[str | Refused]:
        for number in range(3):
            await self.make.acquire()
            tally.output += 1
            yield f"{number}"

    def running(self) -> int:
        return 1

    def shutdown(self) -> None:
        pass


class Talking:
    """An engine that says so many texts, and waits for nothing. ``made``: of them."""

    def __init__(self) -> None:
        self.made = 0
        self.streams = 0

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        return self._texts(body["texts"], tally)

    async def _texts(self, count: int, tally: Tally) -> AsyncIterator[str | Refused]:
        self.streams += 1
        try:
            for number in range(count):
                self.made += 1
                tally.output += 1
                yield talked(number)
                await asyncio.sleep(0)
        finally:
            self.streams -= 1

    def running(self) -> int:
        return self.streams

    def shutdown(self) -> None:
        pass


TEXTS, SIZE = 100_000, 3_000

HELD = HELD_BYTES + SIZE
"""What waits in a call, and the most that is in one of its messages."""


def talked(number: int) -> str:
    return f"{number}".ljust(SIZE)


def texts(messages: list[Message]) -> list[str]:
    return [line for message in messages if isinstance(message, Chunks) for line in message.lines.decode().split("\n")]


class Over(Replica):
    """An engine's replica at the other end of a channel."""

    def __init__(self) -> None:
        self.engine = Talking()
        self._replica = replica_of(self.engine)
        super().__init__()

    async def run(self, operation: Operation, body: bytes) -> AsyncIterator[Message]:
        self.running += 1
        try:
            async with aclosing(self._replica.run(operation, body)) as messages:  # type: ignore[type-var]
                async for message in messages:
                    yield message
        finally:
            self.running -= 1


def replica_of(engine: object) -> EngineReplica:
    made = object.__new__(EngineReplica)
    made._engine = engine  # type: ignore[assignment]
    made._room = Room(4)
    return made


@pytest.mark.parametrize("body", [b"{}", b'{"stream": true}'], ids=["whole", "streamed"])
def test_a_call_that_says_nothing_yet_tells_what_it_takes_and_once(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.01)

    async def check() -> None:
        engine = Slow()
        async with aclosing(replica_of(engine).run("chat", body)) as messages:  # type: ignore[type-var]
            assert await anext(messages) == Progress(Tokens(7, 0))
            following = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0.05)
            assert not following.done()
            engine.make.release()
            said: Message = await following
            if body == b"{}":
                assert said == Progress(Tokens(7, 1))
            else:
                assert said == Chunks(b"0", Tokens(7, 1))
            for _ in range(2):
                engine.make.release()
            last = [message async for message in messages][-1]
            assert last == Whole(b"{}") or (isinstance(last, Chunks) and last.tokens == Tokens(7, 3))

    asyncio.run(check())


def test_what_an_engine_counts_at_the_end_alone_is_read_from_it_meanwhile() -> None:
    tally = Tally({"a": 5}, {"a": 2}, 3)
    tally.unfinished["b"] = lambda: Tokens(10, 4, 1)
    assert tally.tokens == Tokens(15, 7, 3)
    del tally.unfinished["b"]
    assert tally.tokens == Tokens(5, 3, 2)


def test_a_replica_whose_engine_died_holds_no_channel_that_its_replacement_would_wait_for() -> None:
    async def check_health() -> None:
        raise RuntimeError("dead")

    closed: list[bool] = []
    replica = replica_of(SimpleNamespace(check_health=check_health, shutdown=lambda: None))
    replica._channels = SimpleNamespace(close=lambda: closed.append(True))  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="dead"):
        asyncio.run(replica.check_health())
    assert closed == [True]


class TestSlowReaders:
    def test_an_engine_is_asked_for_no_more_than_is_taken_and_nothing_is_lost_of_it(self) -> None:
        async def check() -> None:
            engine = Talking()
            async with aclosing(replica_of(engine).run("chat", b'{"texts": 2000}')) as said:  # type: ignore[type-var]
                found = [await anext(said)]
                assert await stood_still(lambda: engine.made) * SIZE <= SIZE + HELD
                found += [message async for message in said]
            assert texts(found) == [talked(number) for number in range(2000)]
            assert max(len(message.lines) for message in found if isinstance(message, Chunks)) <= HELD

        asyncio.run(check())

    def test_what_is_enough_waits_for_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_until_next", lambda _: 60.0)

        async def check() -> None:
            async with (
                asyncio.timeout(30),
                aclosing(replica_of(Talking()).run("chat", b'{"texts": 2000}')) as said,  # type: ignore[type-var]
            ):
                assert len(texts([message async for message in said])) == 2000

        asyncio.run(check())

    def test_a_call_that_is_given_up_where_nobody_took_more_ends_in_the_engine(self) -> None:
        async def check() -> None:
            engine = Talking()
            async with aclosing(replica_of(engine).run("chat", b'{"texts": 2000}')) as said:  # type: ignore[type-var]
                await anext(said)
                assert await stood_still(lambda: engine.made) < 2000
                assert engine.streams == 1
            await until(lambda: engine.streams == 0)

        asyncio.run(check())

    @settings(max_examples=50)
    @given(st.integers(1, 5 * SIZE), st.integers(0, 40), st.lists(st.integers(0, 20), min_size=1, max_size=5))
    def test_at_any_pace_all_comes_in_order(self, held: int, count: int, pauses: list[int]) -> None:
        async def check() -> None:
            engine, found = Talking(), list[Message]()
            said = replica_of(engine).run("chat", f'{{"texts": {count}}}'.encode())
            async with asyncio.timeout(30), aclosing(said):  # type: ignore[type-var]
                async for message in said:
                    found.append(message)
                    for _ in range(pauses[len(found) % len(pauses)]):
                        await asyncio.sleep(0)
                        assert engine.made * SIZE < len(texts(found)) * SIZE + held + SIZE
            assert texts(found) == [talked(number) for number in range(count)]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "HELD_BYTES", held)
            patch.setattr(module, "_until_next", lambda _: 0.001)
            asyncio.run(check())

    @pytest.mark.usefixtures("event_loops", "in_ray")
    def test_over_a_channel_both_ends_hold_little_and_others_go_on(self) -> None:
        async def work(opened: Opened) -> None:
            assert isinstance(opened.replica, Over)
            engine = opened.replica.engine
            call = await opened.call(f'{{"texts": {TEXTS}}}'.encode())
            first = await call.next()
            made = await stood_still(lambda: engine.made)
            # A window that a message passed, one that waits to be sent, and what is gathered.
            assert made * SIZE <= WINDOW_BYTES + 3 * HELD
            for _ in range(5):
                assert len(texts(await messages(await opened.call(b'{"texts": 10}')))) == 10
            assert engine.made == made + 5 * 10
            assert first is not None
            said = texts([first])
            while (message := await call.next()) is not None:
                said += texts([message])
            assert said == [talked(number) for number in range(TEXTS)]

        ran(work, Over)
