"""Converse's answers and events → OpenAI's documents and chunks, as OpenAI's own client reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from serve.gateway.errors import BackendError
from serve.llm.backend import Tokens
from serve.llm.bedrock import embeddings, reply
from serve.llm.bedrock.frames import Event, Frames
from serve.llm.bedrock.reply import Chunks
from tests import bedrock
from tests.bedrock import Turn

CONTENT = (
    {"reasoningContent": {"reasoningText": {"text": "They greet me.", "signature": "c2ln"}}},
    {"text": "Grüße zurück, 你."},
    {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"where": "ü", "deep": {"n": [1, 2.5, None]}}}},
    {"toolUse": {"toolUseId": "t2", "name": "wait", "input": {}}},
)
TURN = Turn(CONTENT, "tool_use")
BYTES = b"".join(bedrock.events(TURN))


def never() -> int:
    raise AssertionError("Bedrock tells the tokens of the input")


def chunks(*pieces: bytes, guessed: Callable[[], int] = never) -> tuple[list[dict[str, Any]], Chunks]:
    frames, made = Frames(), Chunks("m", guessed)
    found = [chunk for piece in pieces for event in frames.events(piece) for chunk in made.of(event)]
    return found + made.end(), made


def bare(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in chunk.items() if name not in ("id", "created")} for chunk in found]


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("a_later_one", "stop"),
    ],
)
def test_why_it_ended_is_told_as_openai_would(reason: str, wanted: str) -> None:
    turn = Turn(stop=reason)
    assert reply.completed(bedrock.converse(turn), "m").document["choices"][0]["finish_reason"] == wanted
    found, _ = chunks(*bedrock.events(turn))
    assert [choice["finish_reason"] for chunk in found for choice in chunk["choices"]][-1] == wanted


def test_a_tool_that_had_to_be_called_by_its_name_ends_an_answer_as_a_text_does() -> None:
    assert reply.completed(bedrock.converse(TURN), "m", named=True).document["choices"][0]["finish_reason"] == "stop"
    made = Chunks("m", never, named=True)
    frames = Frames()
    found = [chunk for event in frames.events(BYTES) for chunk in made.of(event)]
    assert [choice["finish_reason"] for chunk in found for choice in chunk["choices"]][-1] == "stop"


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_that_is_none_is_an_error(reason: str) -> None:
    turn = Turn(stop=reason)
    with pytest.raises(BackendError, match=reason):
        reply.completed(bedrock.converse(turn), "m")
    with pytest.raises(BackendError, match=reason):
        chunks(*bedrock.events(turn))


def test_openais_client_reads_the_document() -> None:
    answer = reply.completed(bedrock.converse(TURN), "m")
    read = ChatCompletion.model_validate(answer.document, strict=True)
    message = read.choices[0].message
    assert (read.model, read.object, message.content) == ("m", "chat.completion", "Grüße zurück, 你.")
    assert message.model_extra == {"reasoning_content": "They greet me."}
    assert [(call.id, json.loads(call.function.arguments)) for call in message.tool_calls or []] == [  # type: ignore[union-attr]
        ("t1", {"where": "ü", "deep": {"n": [1, 2.5, None]}}),
        ("t2", {}),
    ]
    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (7, 5, 12)


def test_openais_client_reads_the_chunks_and_puts_the_same_together() -> None:
    read = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(BYTES)[0]]
    deltas = [choice.delta for chunk in read for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Grüße zurück, 你."
    assert "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas) == "They greet me."
    assert [delta.role for delta in deltas if delta.role] == ["assistant"]
    told = ["", ""]
    for call in (call for delta in deltas for call in delta.tool_calls or []):
        assert call.function is not None
        told[call.index] += call.function.arguments or ""
    assert [json.loads(text) for text in told] == [{"where": "ü", "deep": {"n": [1, 2.5, None]}}, {}]
    assert [chunk.usage is not None for chunk in read] == [False] * (len(read) - 1) + [True]


def test_an_answer_without_words_has_none() -> None:
    message = reply.completed(bedrock.converse(Turn(CONTENT[2:], "tool_use")), "m").document["choices"][0]["message"]
    assert message["content"] is None
    assert reply.completed(bedrock.converse(Turn(())), "m").document["choices"][0]["message"]["content"] == ""


def test_a_tool_of_the_servers_own_is_not_the_clients_to_call() -> None:
    own = {"toolUse": {"toolUseId": "s1", "name": "search", "input": {}, "type": "server_tool_use"}}
    assert "tool_calls" not in reply.completed(bedrock.converse(Turn((own,))), "m").document["choices"][0]["message"]
    made = Chunks("m", never)
    start = {"toolUse": {"toolUseId": "s1", "name": "search", "type": "server_tool_use"}}
    assert made.of(Event("contentBlockStart", {"start": start, "contentBlockIndex": 0})) == []
    assert made.of(Event("contentBlockDelta", {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 0})) == []
    assert made.of(Event("contentBlockStop", {"contentBlockIndex": 0})) == []


def test_what_was_cached_is_in_the_input() -> None:
    usage = {"inputTokens": 7, "outputTokens": 5, "cacheReadInputTokens": 8, "cacheWriteInputTokens": 2}
    assert reply.tokens(usage) == Tokens(input=17, output=5, cached=8)
    assert reply.tokens({"inputTokens": 1, "cacheReadInputTokens": None}) == Tokens(input=1)


def test_tokens_are_guessed_until_bedrock_tells_them() -> None:
    turn = Turn(({"text": "a bb ccccccccccccccccccccccc"},))
    made = Chunks("m", lambda: 3)
    seen = []
    for message in bedrock.events(turn):
        for event in Frames().events(message):
            made.of(event)
            seen.append((made.tokens.input, made.tokens.output))
    # The third delta has more characters than a token has.
    assert seen == [(3, 0), (3, 1), (3, 2), (3, 7), (3, 7), (3, 7), (7, 5)]


def test_a_stream_without_usage_ends_with_the_guess() -> None:
    found, made = chunks(*bedrock.events(Turn())[:-1], guessed=lambda: 2)
    assert found[-1]["usage"]["prompt_tokens"] == 2
    assert made.tokens.output == 3


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_stream_that_has_no_end_is_broken(left: int) -> None:
    with pytest.raises(BackendError, match="broke off"):
        chunks(*bedrock.events(Turn())[:left])


@given(st.lists(st.integers(0, len(BYTES)), max_size=20))
def test_however_the_bytes_are_cut_the_chunks_are_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(BYTES)]
    pieces = [BYTES[start:end] for start, end in itertools.pairwise(places)]
    assert bare(chunks(*pieces)[0]) == bare(chunks(BYTES)[0])


@settings(max_examples=100)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_a_byte_that_is_wrong_is_never_taken_for_an_answer(place: int, change: int) -> None:
    wrong = bytearray(BYTES)
    wrong[place] ^= change
    # As a longer frame that never ends, or one whose sum is wrong.
    with pytest.raises(BackendError):
        chunks(bytes(wrong))


WORDS = [
    "text",
    "toolUse",
    "delta",
    "start",
    "contentBlockIndex",
    "usage",
    "inputTokens",
    "input",
    "name",
    "stopReason",
    "output",
    "message",
    "content",
    "reasoningContent",
    "reasoningText",
    "toolUseId",
    "embedding",
    "embeddings",
    "float",
    "type",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "new"]
)


@settings(max_examples=100)
@given(st.lists(st.tuples(names, st.dictionaries(st.text(max_size=5), json_values) | json_values), max_size=5))
def test_whatever_an_event_says_it_is_read_or_refused(events: list[tuple[str, Any]]) -> None:
    made = Chunks("m", never)
    frames = Frames()
    try:
        for name, document in events:
            for event in frames.events(bedrock.event(name, document)):
                for chunk in made.of(event):
                    json.dumps(chunk)
    except BackendError as error:
        refused = error
    else:
        return
    assert refused.status == 502


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(["output", "usage", "stopReason", "embedding", "embeddings"]), json_values))
def test_whatever_an_answer_says_it_is_read_or_refused(document: dict[str, Any]) -> None:
    for read in (
        lambda: reply.completed(document, "m").document,
        lambda: embeddings.read(document, {}, {"inputText": "a"}),
    ):
        try:
            json.dumps(read())
        except BackendError as error:
            refused = error
        else:
            continue
        assert refused.status == 502


def test_an_exception_ends_a_stream_and_has_its_name() -> None:
    (event,) = Frames().events(bedrock.exception("throttlingException", "slow down"))
    assert event == Event("throttlingException", {"message": "slow down"}, failed=True)
    error = bedrock.frame({":message-type": "error", ":error-code": "Oops", ":error-message": "why"}, b"")
    assert list(Frames().events(error)) == [Event("Oops", {"message": "why"}, failed=True)]


@pytest.mark.parametrize("vectors", [[], [[1.0]], [[1.0]] * 3])
def test_embeddings_are_as_many_as_texts(vectors: list[list[float]]) -> None:
    asked = {"texts": ["four", "more"]}
    assert embeddings.read({"embeddings": [[1.0], [2.0]]}, {}, asked) == ([[1.0], [2.0]], 2)
    with pytest.raises(BackendError, match="embeddings for 2 texts"):
        embeddings.read({"embeddings": vectors}, {}, asked)
