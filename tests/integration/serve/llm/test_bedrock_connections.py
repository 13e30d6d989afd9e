"""What the Bedrock backend holds while it answers, and what it lets go: connections, and no threads."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from serve.gateway.errors import Unavailable
from serve.llm.backend import Tokens
from serve.llm.bedrock.backend import BedrockBackend
from serve.llm.bedrock.connection import Connection
from serve.llm.ledger.cost import guessed_input
from tests.bedrock import StandIn, Turn
from tests.integration.serve.llm.bedrock_backend import ask, body, collected, said, settings, stream, whole

pytestmark = pytest.mark.integration


def test_a_client_that_goes_is_noticed_by_bedrock(stand_in: StandIn) -> None:
    stand_in.turns.append(Turn(({"text": "one two three four"},), after=4, then="stall"))

    async def use(backend: BedrockBackend) -> Tokens:
        answer = await stream(backend, body("sixteen letters."))
        said = [await anext(answer) for _ in range(3)]
        assert len(said) == 3
        assert await asyncio.to_thread(stand_in.saw, "open", 1)
        await answer.aclose()
        await answer.aclose()
        assert await asyncio.to_thread(stand_in.saw, "gone", 1)
        assert stand_in.saw("open", 0)
        with pytest.raises(StopAsyncIteration):
            await anext(answer)
        return answer.tokens

    tokens = ask(stand_in, use)
    assert tokens.input == guessed_input(body("sixteen letters."))
    assert 2 <= tokens.output <= 3


@pytest.mark.parametrize("when", ["before an answer", "before the first token", "between tokens"])
def test_a_cancelled_request_closes_its_connection(stand_in: StandIn, when: str) -> None:
    stall = Turn(after=4 if when == "between tokens" else 1, then="stall")
    stand_in.turns.append(Turn(first_seconds=60) if when == "before an answer" else stall)

    async def use(backend: BedrockBackend) -> None:
        asking = whole(backend, body()) if when == "before an answer" else collected(backend)
        task = asyncio.create_task(asking)  # type: ignore[arg-type]
        assert await asyncio.to_thread(stand_in.saw, "open", 1)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stand_in.saw, "gone", 1)
        assert stand_in.saw("open", 0)
        # And the pool has its place back.
        assert said(await collected(backend)) == "Hello there."

    ask(stand_in, use)


def test_a_connection_is_kept_for_the_next_request(stand_in: StandIn) -> None:
    async def use(backend: BedrockBackend) -> None:
        for _ in range(3):
            await whole(backend, body())
            await collected(backend)

    ask(stand_in, use)
    assert (len(stand_in.asked), stand_in.connections) == (6, 1)


def test_two_hundred_idle_streams_take_no_threads(stand_in: StandIn) -> None:
    streams = 200
    stand_in.turns += [Turn(after=3, then="stall")] * streams

    async def use(backend: BedrockBackend) -> tuple[int, int]:
        await backend.ready()
        before = threading.active_count()
        answers = await asyncio.gather(*(stream(backend) for _ in range(streams)))
        pulled = [asyncio.create_task(_pull(answer)) for answer in answers]
        assert await asyncio.to_thread(stand_in.saw, "open", streams, 60)
        during = threading.active_count()
        for task in pulled:
            task.cancel()
        await asyncio.gather(*pulled, return_exceptions=True)
        assert await asyncio.to_thread(stand_in.saw, "gone", streams, 60)
        return before, during

    async def _pull(answer: Any) -> None:
        async for _ in answer:
            pass

    before, during = ask(stand_in, use, first_token_seconds=60, between_tokens_seconds=60)
    assert during - before < 10
    assert stand_in.most_open == streams


def test_the_pool_has_an_end_and_says_so(stand_in: StandIn) -> None:
    stand_in.turns += [Turn(after=3, then="stall")] * 2

    async def use(backend: BedrockBackend) -> None:
        backend._connection = Connection(settings(stand_in, connect_seconds=1.5), most=2)
        held = [await stream(backend), await stream(backend)]
        with pytest.raises(Unavailable, match="2 requests to Bedrock are waiting already"):
            await stream(backend)
        for answer in held:
            await answer.aclose()
        assert said(await collected(backend)) == "Hello there."
        await backend._connection.close()

    ask(stand_in, use)


def test_a_slow_answer_is_not_cut_by_the_limit_between_tokens(stand_in: StandIn) -> None:
    stand_in.turns.append(Turn(first_seconds=1.8, between_seconds=0.02))
    started = time.monotonic()
    chunks = ask(stand_in, collected, between_tokens_seconds=1.5, first_token_seconds=30)
    assert said(chunks) == "Hello there."
    assert time.monotonic() - started >= 1.8
