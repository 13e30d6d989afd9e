"""The Bedrock backend, over the wire to a stand-in that boto3 takes for Bedrock."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serve.gateway.errors import BackendError, Unavailable
from serve.llm.backend import Stream, Tokens
from serve.llm.bedrock import embeddings
from serve.llm.bedrock.backend import BedrockBackend
from serve.llm.bedrock.errors import CredentialsRefused
from serve.llm.ledger.cost import guessed_input
from tests import bedrock
from tests.bedrock import Refusal, StandIn, Turn
from tests.integration.serve.llm.bedrock_backend import MODEL, ask, body, collected, said, stream, whole

pytestmark = pytest.mark.integration

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
CALL = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"where": "über there"}}}
IDLE = {"toolUse": {"toolUseId": "t2", "name": "wait", "input": {}}}
LOOK = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
CACHED = {"inputTokens": 7, "outputTokens": 5, "totalTokens": 22, "cacheReadInputTokens": 8, "cacheWriteInputTokens": 2}


@pytest.mark.parametrize("model", [MODEL, ARN, "amazon.nova-lite-v1:0"])
def test_a_chat_is_answered_by_any_model_or_profile(stand_in: StandIn, model: str) -> None:
    answer = ask(stand_in, lambda backend: whole(backend, body("Grüße")), model=model)
    choice = answer.document["choices"][0]
    assert choice["message"]["content"] == "Hello there."
    assert (choice["finish_reason"], answer.document["model"]) == ("stop", "claude")
    assert answer.tokens == Tokens(input=7, output=5)
    asked = stand_in.asked[0]
    assert (asked.model, asked.action, asked.region) == (model, "converse", "eu-west-1")
    assert asked.body == {"messages": [{"role": "user", "content": [{"text": "Grüße"}]}]}


def test_a_stream_says_the_same_in_pieces_and_its_usage_last(stand_in: StandIn) -> None:
    stand_in.turns.append(Turn(usage=CACHED))
    chunks = ask(stand_in, collected)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert said(chunks) == "Hello there."
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 17,
        "completion_tokens": 5,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 8},
    }


def test_tools_are_called_whole_and_in_a_stream(stand_in: StandIn) -> None:
    given = body(tools=[LOOK], tool_choice="required", max_tokens=10, stop="END", temperature=0)
    stand_in.turns += [Turn(({"text": "So: "}, CALL, IDLE), "tool_use")] * 2
    choice = ask(stand_in, lambda backend: whole(backend, given)).document["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert [(call["id"], call["function"]["name"]) for call in calls] == [("t1", "look"), ("t2", "wait")]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"where": "über there"}, {}]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "So: ")
    chunks = ask(stand_in, lambda backend: collected(backend, given))
    told: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls", []):
                found = told.setdefault(call["index"], {"arguments": ""})
                found.update({name: call[name] for name in ("id", "type") if name in call})
                found["arguments"] += call["function"]["arguments"]
    assert [(index, call["id"], call["type"]) for index, call in told.items()] == [
        (0, "t1", "function"),
        (1, "t2", "function"),
    ]
    assert [json.loads(call["arguments"]) for call in told.values()] == [{"where": "über there"}, {}]
    assert [asked.body["toolConfig"]["toolChoice"] for asked in stand_in.asked] == [{"any": {}}] * 2
    assert stand_in.asked[0].body["inferenceConfig"] == {"maxTokens": 10, "temperature": 0, "stopSequences": ["END"]}


def test_an_image_comes_byte_for_byte_and_an_address_is_never_fetched(stand_in: StandIn) -> None:
    content = bytes(range(256)) * 40

    def seen(url: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]

    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    ask(stand_in, lambda backend: whole(backend, {"model": "m", "messages": seen(data)}))
    assert bedrock.image(stand_in.asked[0].body["messages"][0]["content"][0]) == content
    with pytest.raises(BackendError) as found:
        ask(stand_in, lambda backend: whole(backend, {"model": "m", "messages": seen(f"{stand_in.url}/a.png")}))
    assert (found.value.status, found.value.openai_code) == (400, "invalid_image_url")
    assert stand_in.connections == 1


def test_a_guardrail_goes_along_and_what_it_stops_is_said_to_be_filtered(stand_in: StandIn) -> None:
    stand_in.turns += [Turn(({"text": "I may not say."},), "guardrail_intervened")] * 2
    guardrail = {"id": "abc123", "version": "2"}
    answer = ask(stand_in, lambda backend: whole(backend, body()), guardrail=guardrail)
    chunks = ask(stand_in, collected, guardrail=guardrail)
    assert answer.document["choices"][0]["finish_reason"] == "content_filter"
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "content_filter"
    wanted = {"guardrailIdentifier": "abc123", "guardrailVersion": "2"}
    assert [asked.body["guardrailConfig"] for asked in stand_in.asked] == [wanted] * 2


REFUSED = [
    (429, "ThrottlingException", 429, "rate_limit_exceeded"),
    (429, "ModelNotReadyException", 429, "rate_limit_exceeded"),
    (400, "ServiceQuotaExceededException", 429, "insufficient_quota"),
    (400, "ValidationException", 400, "invalid_value"),
    (403, "AccessDeniedException", 403, "permission_denied"),
    (404, "ResourceNotFoundException", 404, "model_not_found"),
    (408, "ModelTimeoutException", 504, "server_error"),
    (424, "ModelErrorException", 502, "server_error"),
    (500, "InternalServerException", 503, None),
    (503, "ServiceUnavailableException", 503, None),
    (403, "ExpiredTokenException", 503, None),
    (418, "TeapotException", 502, "server_error"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("status", "name", "ours", "code"), REFUSED)
def test_an_error_is_told_as_openai_would(
    stand_in: StandIn, status: int, name: str, ours: int, code: str | None, streamed: bool
) -> None:
    stand_in.refusing["eu-west-1"] = Refusal(status, name, "arn:aws:sts::123456789012:assumed-role/ours")
    with pytest.raises((BackendError, Unavailable)) as found:
        ask(stand_in, collected if streamed else lambda backend: whole(backend, body()))
    assert (found.value.status, found.value.openai_code) == (ours, code)
    if ours in (403, 404) or name == "ExpiredTokenException":
        assert "123456789012" not in str(found.value)


AMID = [
    ("throttlingException", 429, "rate_limit_exceeded"),
    ("modelStreamErrorException", 502, "server_error"),
    ("validationException", 400, "invalid_value"),
    ("internalServerException", 503, None),
    ("serviceUnavailableException", 503, None),
    ("cut", 502, "server_error"),
    ("end", 502, "server_error"),
    ("stall", 504, "server_error"),
]


@pytest.mark.parametrize(("then", "status", "code"), AMID)
def test_an_error_amid_a_stream_comes_after_what_was_said(
    stand_in: StandIn, then: str, status: int, code: str | None
) -> None:
    stand_in.turns.append(Turn(({"text": "one two three"},), after=3, then=then))
    chunks: list[dict[str, Any]] = []

    async def use(backend: BedrockBackend) -> Tokens:
        answer = await stream(backend)
        with pytest.raises((BackendError, Unavailable)) as found:
            await _read(answer, chunks)
        assert (found.value.status, found.value.openai_code) == (status, code)
        return answer.tokens

    # A second try would double what the client has read already.
    tokens = ask(stand_in, use, retries=2, between_tokens_seconds=1.5)
    assert said(chunks) == "one two "
    assert len(stand_in.asked) == 1
    assert (tokens.input, tokens.output) == (guessed_input(body()), 2)


async def _read(answer: Stream, chunks: list[dict[str, Any]]) -> None:
    async for chunk in answer:
        chunks += [dict(chunk)]


@pytest.mark.parametrize("then", ["throttlingException", "serviceUnavailableException", "cut"])
def test_a_stream_that_fails_before_its_first_word_is_begun_anew(stand_in: StandIn, then: str) -> None:
    stand_in.turns.append(Turn(after=1, then=then))
    assert said(ask(stand_in, collected, retries=1)) == "Hello there."
    assert len(stand_in.asked) == 2


@pytest.mark.parametrize("name", ["ThrottlingException", "ServiceUnavailableException", "InternalServerException"])
def test_what_may_pass_is_tried_again_as_often_as_set(stand_in: StandIn, name: str) -> None:
    refusal = Refusal(429 if "Thr" in name else 503, name)
    stand_in.turns += [refusal, refusal]
    assert ask(stand_in, lambda backend: whole(backend, body()), retries=2).tokens.output == 5
    assert len(stand_in.asked) == 3
    stand_in.turns += [refusal, refusal]
    with pytest.raises((BackendError, Unavailable)):
        ask(stand_in, lambda backend: whole(backend, body()), retries=1)
    assert len(stand_in.asked) == 5


@pytest.mark.parametrize("name", ["ValidationException", "ModelErrorException"])
def test_what_will_not_pass_is_not_tried_again(stand_in: StandIn, name: str) -> None:
    stand_in.turns.append(Refusal(400, name))
    with pytest.raises(BackendError):
        ask(stand_in, lambda backend: whole(backend, body()), retries=3, regions=["eu-west-1", "eu-central-1"])
    assert len(stand_in.asked) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("trouble", ["down", "throttled", "quota", "slow"])
def test_the_next_region_answers_where_one_can_not(stand_in: StandIn, trouble: str, streamed: bool) -> None:
    if trouble == "down":
        stand_in.down.add("eu-west-1")
    elif trouble == "slow":
        stand_in.turns.append(Turn(first_seconds=60))
    else:
        name = "ThrottlingException" if trouble == "throttled" else "ServiceQuotaExceededException"
        stand_in.refusing["eu-west-1"] = Refusal(429, name)
    limits = {"first_token_seconds": 1.5, "answer_seconds": 1.5, "retries": 1} if trouble == "slow" else {"retries": 1}
    regions = ["eu-west-1", "eu-central-1"]
    ask(stand_in, collected if streamed else lambda backend: whole(backend, body()), regions=regions, **limits)
    tries = 2 if trouble in ("down", "throttled") else 1
    assert [asked.region for asked in stand_in.asked] == ["eu-west-1"] * tries + ["eu-central-1"]


def test_a_place_where_nobody_listens_is_said_to_be_unavailable(stand_in: StandIn) -> None:
    with pytest.raises(Unavailable, match="no connection"):
        ask(stand_in, collected, endpoint="http://127.0.0.1:9")
    assert ask(stand_in, lambda backend: backend.ready(), endpoint="http://127.0.0.1:9")


def test_a_wrong_secret_is_our_fault_and_not_the_clients(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(CredentialsRefused):
        ask(stand_in, collected)
    assert stand_in.asked == []


def test_without_credentials_it_is_not_ready(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(stand_in, lambda backend: backend.ready())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert not ask(stand_in, lambda backend: backend.ready())
    with pytest.raises(CredentialsRefused):
        ask(stand_in, collected)
    assert stand_in.connections == 0


def test_credentials_that_end_are_renewed_without_holding_up_the_loop(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a program that takes a while to give them, and gives ones that end within the time that botocore renews in."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    program = tmp_path / "program.py"
    program.write_text(
        "import datetime, json, pathlib, sys, time\n"
        "time.sleep(0.5)\n"
        "with pathlib.Path(sys.argv[1]).open('a') as file: file.write('x')\n"
        "ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)\n"
        f"keys = {{'AccessKeyId': {bedrock.ACCESS_KEY!r}, 'SecretAccessKey': {bedrock.SECRET_KEY!r}}}\n"
        "print(json.dumps({'Version': 1, **keys, 'SessionToken': 'token', 'Expiration': ends.isoformat()}))\n"
    )
    runs = tmp_path / "runs"
    config = f"[default]\ncredential_process = {sys.executable} {program} {runs}\n"
    (tmp_path / "config").write_text(config)

    async def use(backend: BedrockBackend) -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(whole(backend, body()) for _ in range(5)))
        await whole(backend, body())
        ticking.cancel()
        return ticks

    ticks = ask(stand_in, use)
    # It is asked once for all who wait, and again since these are to end.
    assert 2 <= len(runs.read_text()) <= 3
    assert ticks > 20
    assert {asked.headers["x-amz-security-token"] for asked in stand_in.asked} == {"token"}


@pytest.mark.parametrize("encoding", [None, "base64"])
def test_titan_embeds_each_text_with_a_call(stand_in: StandIn, encoding: str | None) -> None:
    stand_in.turns += [Turn(document={"embedding": [0.5, -1.0], "inputTextTokenCount": 3})] * 3
    given = {"model": "e", "input": ["a", "b", "c"], "dimensions": 256, "encoding_format": encoding}
    model = "amazon.titan-embed-text-v2:0"
    answer = ask(stand_in, lambda backend: whole(backend, given, "embeddings"), model=model)
    assert sorted(asked.body["inputText"] for asked in stand_in.asked) == ["a", "b", "c"]
    assert {(asked.action, asked.body["dimensions"]) for asked in stand_in.asked} == {("invoke", 256)}
    assert answer.document["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert answer.tokens == Tokens(input=9)
    expected = [0.5, -1.0] if encoding is None else "AAAAPwAAgL8="
    assert [entry["embedding"] for entry in answer.document["data"]] == [expected] * 3


def test_cohere_embeds_many_texts_with_a_call(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (96, 4)
    count = {"X-Amzn-Bedrock-Input-Token-Count": "50"}
    for size in sizes:
        stand_in.turns.append(Turn(document={"embeddings": {"float": [[1.0]] * size}}, headers=count))
    given = {"model": "e", "input": ["text"] * 100, "input_type": "search_query"}

    # One after the other, so that the script's order is theirs.
    monkeypatch.setattr(embeddings, "AT_ONCE", 1)
    answer = ask(stand_in, lambda backend: whole(backend, given, "embeddings"), model="eu.cohere.embed-v4:0")
    assert [len(asked.body["texts"]) for asked in stand_in.asked] == list(sizes)
    assert {asked.body["input_type"] for asked in stand_in.asked} == {"search_query"}
    assert (len(answer.document["data"]), answer.tokens.input) == (100, 100)


@pytest.mark.parametrize("operation", ["embeddings", "completions"])
def test_what_the_model_is_not_for_is_refused_without_asking(stand_in: StandIn, operation: Any) -> None:
    with pytest.raises(BackendError) as found:
        ask(stand_in, lambda backend: backend.run(operation, {"model": "m", "input": "a", "prompt": "a"}))
    assert (found.value.status, found.value.param) == (400, "model")
    assert stand_in.connections == 0
