"""OpenAI's own client → the gateway → the routes → the Bedrock backend → the stand-in, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel

from serve.llm.language import Language
from serve.settings import Settings
from tests.bedrock import Refusal, StandIn, Turn
from tests.unit.serve.language import House, house, listening

pytestmark = pytest.mark.integration

MESSAGES = [{"role": "user", "content": "What is late?"}]
CALL = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"where": "there"}}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


class Parcel(BaseModel):
    place: str
    late: bool


@pytest.fixture
def inn(stand_in: StandIn, tmp_path: Path) -> Iterator[House]:
    shared = {"kind": "bedrock", "retries": 0, "endpoint": stand_in.url, "between_tokens_seconds": 20}
    settings = Settings.model_validate(
        {
            "backends": {
                "west": {**shared, "model": "us.amazon.nova-lite-v1:0", "regions": ["us-west-2"]},
                "east": {**shared, "model": "us.amazon.nova-lite-v1:0", "regions": ["us-east-1"]},
                "vectors": {**shared, "model": "amazon.titan-embed-text-v2:0", "regions": ["us-east-1"]},
            },
            "language_models": {
                "assistant": {"routes": [{"backend": "west"}, {"backend": "east", "priority": 1}]},
                "embedding": {"routes": [{"backend": "vectors"}]},
            },
            "usage": {"ledger": None},
        }
    )
    made = house(tmp_path / "log")
    router = Language.of(settings).router
    made.plane.run, made.plane.names = router.run, router.names  # type: ignore[method-assign]
    with listening(made):
        yield made


def test_a_client_chats_whole_and_in_a_stream(stand_in: StandIn, inn: House) -> None:
    chats = inn.client().chat.completions
    answer = chats.create(model="assistant", messages=MESSAGES)  # type: ignore[arg-type]
    assert (answer.model, answer.choices[0].message.content) == ("assistant", "Hello there.")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 12
    with chats.stream(model="assistant", messages=MESSAGES, stream_options={"include_usage": True}) as stream:  # type: ignore[arg-type]
        stream.until_done()
        whole = stream.get_final_completion()
    assert (whole.model, whole.choices[0].message.content) == ("assistant", "Hello there.")
    assert whole.usage is not None
    assert whole.usage.total_tokens == 12


def test_a_client_calls_tools_and_gives_their_results(stand_in: StandIn, inn: House) -> None:
    chats = inn.client().chat.completions
    stand_in.turns.append(Turn(({"text": "I look."}, CALL), "tool_use"))
    with chats.stream(model="assistant", messages=MESSAGES, tools=[LOOK]) as stream:  # type: ignore[arg-type]
        stream.until_done()
        said = stream.get_final_completion().choices[0].message
    (call,) = said.tool_calls or []
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("t1", "look", {"where": "there"})
    # As the client's own document has it, with every field that it sends.
    sent = said.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": "t1", "content": "late"}
    chats.create(model="assistant", messages=[*MESSAGES, sent, result], tools=[LOOK])  # type: ignore[arg-type, list-item]
    assert [[*block] for turn in stand_in.asked[1].body["messages"] for block in turn["content"]] == [
        ["text"],
        ["text"],
        ["toolUse"],
        ["toolResult"],
    ]


def test_a_client_parses_an_answer_by_its_schema(stand_in: StandIn, inn: House) -> None:
    stand_in.turns.append(Turn(({"text": '{"place": "here", "late": true}'},)))
    answer = inn.client().chat.completions.parse(model="assistant", messages=MESSAGES, response_format=Parcel)  # type: ignore[arg-type]
    assert answer.choices[0].message.parsed == Parcel(place="here", late=True)
    schema = stand_in.asked[0].body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(schema["schema"])["required"] == ["place", "late"]


def test_a_client_embeds(stand_in: StandIn, inn: House) -> None:
    # Unless it is told otherwise, it asks for base64.
    stand_in.turns.append(Turn(document={"embedding": [0.5, -1.0], "inputTextTokenCount": 3}))
    answer = inn.client().embeddings.create(model="embedding", input="text")
    assert (answer.data[0].embedding, answer.usage.total_tokens) == ([0.5, -1.0], 3)


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (Refusal(429, "ThrottlingException"), openai.RateLimitError, "rate_limit_exceeded"),
        (Refusal(400, "ValidationException", "Input is too long."), openai.BadRequestError, "context_length_exceeded"),
        (Refusal(403, "AccessDeniedException"), openai.PermissionDeniedError, "permission_denied"),
        (Refusal(404, "ResourceNotFoundException"), openai.NotFoundError, "model_not_found"),
    ],
)
def test_a_client_raises_openais_errors(
    stand_in: StandIn, inn: House, refusal: Refusal, kind: type[openai.APIStatusError], code: str
) -> None:
    stand_in.refusing |= {"us-west-2": refusal, "us-east-1": refusal}
    for stream in (False, True):
        with pytest.raises(kind) as found:
            inn.client().chat.completions.create(model="assistant", messages=MESSAGES, stream=stream)  # type: ignore[call-overload]
        assert found.value.code == code


def test_the_next_route_answers_where_a_backend_can_not(stand_in: StandIn, inn: House) -> None:
    stand_in.refusing["us-west-2"] = Refusal(503, "ServiceUnavailableException")
    answer = inn.client().chat.completions.create(model="assistant", messages=MESSAGES)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "Hello there."
    assert [asked.region for asked in stand_in.asked] == ["us-west-2", "us-east-1"]


def test_an_error_amid_a_stream_reaches_the_client(stand_in: StandIn, inn: House) -> None:
    stand_in.turns.append(Turn(({"text": "one two three"},), after=3, then="throttlingException"))
    stream = inn.client().chat.completions.create(model="assistant", messages=MESSAGES, stream=True)  # type: ignore[call-overload]
    said: list[str] = []
    with pytest.raises(openai.APIError) as found:
        said.extend(chunk.choices[0].delta.content for chunk in stream)
    assert ("".join(said), found.value.code) == ("one two ", "rate_limit_exceeded")


def test_a_client_that_goes_frees_the_connection_to_bedrock(stand_in: StandIn, inn: House) -> None:
    stand_in.turns.append(Turn(after=2, then="stall"))
    stream = inn.client().chat.completions.create(model="assistant", messages=MESSAGES, stream=True)  # type: ignore[call-overload]
    next(stream)
    assert stand_in.saw("open", 1)
    stream.close()
    assert stand_in.saw("gone", 1)


def test_what_bedrock_has_not_is_told_to_the_client(inn: House, stand_in: StandIn) -> None:
    with pytest.raises(openai.BadRequestError) as found:
        inn.client().chat.completions.create(model="assistant", messages=MESSAGES, seed=3)  # type: ignore[call-overload]
    assert (found.value.code, found.value.param) == ("unsupported_parameter", "seed")
    with pytest.raises(openai.BadRequestError):
        inn.client().completions.create(model="assistant", prompt="A parcel is")
    assert stand_in.asked == []
