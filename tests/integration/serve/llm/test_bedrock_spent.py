"""What is paid to Bedrock for no answer: of tries that were given up, and of answers that nobody waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from serve.gateway.errors import ServeError
from serve.llm.backend import Completed, Operation, Tokens, Work
from serve.llm.bedrock.backend import BedrockBackend
from serve.llm.ledger import cost
from serve.llm.ledger.cost import guessed_input
from tests.bedrock import Refusal, StandIn, Turn
from tests.integration.serve.llm.bedrock_backend import ask, body

pytestmark = pytest.mark.integration

REGIONS = ["eu-west-1", "eu-central-1"]
TITAN = "amazon.titan-embed-text-v2:0"
INPUT = guessed_input(body())
"""What the stand-in reads is 7 tokens, and this is what is guessed of it."""


def taken(stand_in: StandIn, *, stream: bool = False, **settings: object) -> Tokens:
    async def use(backend: BedrockBackend) -> Tokens:
        answer = await backend.run("chat", body(stream=stream), Work())
        if not isinstance(answer, Completed):
            _ = [chunk async for chunk in answer]
        return answer.tokens

    return ask(stand_in, use, **settings)


def spent(stand_in: StandIn, operation: Operation = "chat", given: object = None, **settings: object) -> Tokens | None:
    """By a request that fails."""
    work = Work()

    async def use(backend: BedrockBackend) -> None:
        with pytest.raises(ServeError):
            await backend.run(operation, given or body(), work)

    ask(stand_in, use, **settings)
    return work.tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_region_that_came_too_late_had_read_the_prompt(stand_in: StandIn, stream: bool) -> None:
    stand_in.turns.append(Turn(first_seconds=60))
    began = time.monotonic()
    found = taken(stand_in, stream=stream, regions=REGIONS, first_token_seconds=1.5, answer_seconds=1.5)
    most = cost.TOKENS_A_SECOND * (time.monotonic() - began)
    assert found.input == 7 + INPUT
    # Of a whole one some of the answer had been made by then, too.
    assert found.output == 5 if stream else 5 + 140 <= found.output <= 5 + most


def test_a_region_that_refused_or_was_not_reached_had_not(stand_in: StandIn) -> None:
    stand_in.turns += [Refusal(429, "ThrottlingException"), Refusal(503, "ServiceUnavailableException")]
    assert taken(stand_in, retries=2) == Tokens(7, 5)
    stand_in.down.add("eu-west-1")
    assert taken(stand_in, stream=True, regions=REGIONS).output == 5


def test_a_request_that_came_too_late_everywhere_is_counted_in_each(stand_in: StandIn) -> None:
    stand_in.turns += [Turn(first_seconds=60)] * 2
    found = spent(stand_in, given=body(max_tokens=10), regions=REGIONS, answer_seconds=1.5)
    assert found == Tokens(2 * guessed_input(body(max_tokens=10)), 20)


def test_a_whole_answer_that_nobody_waits_for_is_counted_by_its_time(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "TOKENS_A_SECOND", 1000)
    stand_in.turns.append(Turn(first_seconds=60))
    work = Work()

    async def use(backend: BedrockBackend) -> float:
        began = time.monotonic()
        asking = asyncio.create_task(backend.run("chat", body(), work))
        assert await asyncio.to_thread(stand_in.saw, "open", 1)
        await asyncio.sleep(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return time.monotonic() - began

    most = 1000 * ask(stand_in, use)
    assert work.tokens is not None
    assert work.tokens.input == INPUT
    assert 500 <= work.tokens.output <= most


def test_an_answer_that_can_not_be_read_took_what_it_says(stand_in: StandIn) -> None:
    stand_in.turns.append(Turn(stop="malformed_tool_use"))
    assert spent(stand_in) == Tokens(7, 5)


@pytest.mark.parametrize("then", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_region_without_the_model_is_left_for_the_next(stand_in: StandIn, then: str) -> None:
    stand_in.turns.append(Refusal(403 if "Access" in then else 404, then))
    assert taken(stand_in, regions=REGIONS) == Tokens(7, 5)
    assert [asked.region for asked in stand_in.asked] == REGIONS


def test_texts_that_were_embedded_before_one_failed_are_counted(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.llm.bedrock.embeddings.AT_ONCE", 1)
    embedded = Turn(document={"embedding": [0.5], "inputTextTokenCount": 3})
    stand_in.turns += [embedded, embedded, Refusal(429, "ThrottlingException")]
    given = {"model": "e", "input": ["a", "b", "c", "d"]}
    # The fourth may have been on its way.
    assert spent(stand_in, "embeddings", given, model=TITAN) in (Tokens(input=6), Tokens(input=7))


def test_a_text_that_was_embedded_in_vain_is_counted_with_the_others(stand_in: StandIn) -> None:
    embedded = Turn(document={"embedding": [0.5], "inputTextTokenCount": 3})
    stand_in.turns += [Turn(first_seconds=60), embedded]

    async def use(backend: BedrockBackend) -> Completed:
        answer = await backend.run("embeddings", {"model": "e", "input": "a" * 400}, Work())
        assert isinstance(answer, Completed)
        return answer

    answer = ask(stand_in, use, model=TITAN, regions=REGIONS, answer_seconds=1.5)
    assert answer.tokens == Tokens(input=3 + 100)
    assert answer.document["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_an_embedding_that_can_not_be_read_is_counted(stand_in: StandIn) -> None:
    stand_in.turns.append(Turn(document={"embedding": "nothing"}))
    assert spent(stand_in, "embeddings", {"model": "e", "input": "a" * 400}, model=TITAN) == Tokens(input=100)
