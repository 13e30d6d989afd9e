"""What Serve asks of an engine's replica, and what it says of calls that it works on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from serve.llm.backend import Body, Operation, Tokens
from serve.llm.deployed import replica as module
from serve.llm.deployed.engine import Tally
from serve.llm.deployed.messages import Chunks, Message, Progress, Refused, Whole
from serve.llm.deployed.replica import EngineReplica
from serve.llm.deployed.room import Room


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
