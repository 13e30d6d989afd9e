"""The stand-in for Bedrock is checked with boto3: what AWS's own client reads from it is what was scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore import exceptions  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from urllib3.exceptions import ReadTimeoutError

from tests import bedrock
from tests.bedrock import Refusal, StandIn, Turn

pytestmark = pytest.mark.integration

MODEL = "eu.anthropic.claude-sonnet-4-6"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-6"
SAID = [{"role": "user", "content": [{"text": "Grüße"}]}]
CONTENT = (
    {"reasoningContent": {"reasoningText": {"text": "They greet me.", "signature": "c2ln"}}},
    {"text": "Grüße zurück, you."},
    {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"where": "here", "deep": {"n": [1, 2.5, None]}}}},
    {"toolUse": {"toolUseId": "t2", "name": "wait", "input": {}}},
)
USAGE = {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12, "cacheReadInputTokens": 3}

Client = Callable[..., Any]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn().running() as running:
        yield running


@pytest.fixture
def client(stand_in: StandIn) -> Client:
    def client(region: str = "eu-west-1", secret: str = bedrock.SECRET_KEY, key: str = bedrock.ACCESS_KEY) -> Any:
        return boto3.client(
            "bedrock-runtime",
            region_name=region,
            endpoint_url=stand_in.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=2),
        )

    return client


@pytest.mark.parametrize("model", [MODEL, ARN, "amazon.titan-embed-text-v2:0"])
def test_boto3_reads_the_answer_that_was_scripted(stand_in: StandIn, client: Client, model: str) -> None:
    stand_in.turns.append(Turn(CONTENT, "tool_use", USAGE))
    answer = client().converse(modelId=model, messages=SAID)
    assert answer["output"]["message"] == {"role": "assistant", "content": list(CONTENT)}
    assert (answer["stopReason"], answer["usage"]) == ("tool_use", USAGE)
    assert [(asked.region, asked.model, asked.body) for asked in stand_in.asked] == [
        ("eu-west-1", model, {"messages": SAID})
    ]


def test_boto3_reads_the_stream_that_was_scripted(stand_in: StandIn, client: Client) -> None:
    stand_in.turns.append(Turn(CONTENT, "tool_use", USAGE))
    stream = list(client().converse_stream(modelId=MODEL, messages=SAID)["stream"])
    assert stream[0] == {"messageStart": {"role": "assistant"}}
    assert stream[-2] == {"messageStop": {"stopReason": "tool_use"}}
    assert stream[-1]["metadata"]["usage"] == USAGE
    deltas = [event["contentBlockDelta"] for event in stream if "contentBlockDelta" in event]

    def told(index: int, *path: str) -> str:
        pieces = [delta["delta"] for delta in deltas if delta["contentBlockIndex"] == index]
        for name in path:
            pieces = [piece.get(name, {} if name != path[-1] else "") for piece in pieces]
        return "".join(str(piece) for piece in pieces)

    assert told(0, "reasoningContent", "text") == "They greet me."
    assert told(1, "text") == "Grüße zurück, you."
    assert json.loads(told(2, "toolUse", "input")) == {"where": "here", "deep": {"n": [1, 2.5, None]}}
    starts = [event["contentBlockStart"]["start"] for event in stream if "contentBlockStart" in event]
    assert starts == [
        {"toolUse": {"toolUseId": "t1", "name": "look"}},
        {"toolUse": {"toolUseId": "t2", "name": "wait"}},
    ]
    assert len(deltas) > 10


def test_an_image_arrives_as_boto3_sends_it(stand_in: StandIn, client: Client) -> None:
    content = bytes(range(256))
    block = {"image": {"format": "png", "source": {"bytes": content}}}
    client().converse(modelId=MODEL, messages=[{"role": "user", "content": [block]}])
    assert bedrock.image(stand_in.asked[0].body["messages"][0]["content"][0]) == content


def test_boto3_reads_what_a_model_is_invoked_for(stand_in: StandIn, client: Client) -> None:
    stand_in.turns.append(Turn(document={"embedding": [0.5, -1]}, headers={"X-Amzn-Bedrock-Input-Token-Count": "3"}))
    answer = client().invoke_model(modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "a"}))
    assert json.loads(answer["body"].read()) == {"embedding": [0.5, -1]}
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "3"
    assert stand_in.asked[0].body == {"inputText": "a"}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (429, "ModelNotReadyException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_boto3_reads_an_error_by_its_name(stand_in: StandIn, client: Client, status: int, name: str) -> None:
    runtime = client()
    for call in (runtime.converse, runtime.converse_stream):
        stand_in.turns.append(Refusal(status, name, "the reason"))
        with pytest.raises(getattr(runtime.exceptions, name)) as found:
            call(modelId=MODEL, messages=SAID)
        assert found.value.response["Error"] == {"Message": "the reason", "Code": name}
        assert found.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("name", ["throttlingException", "modelStreamErrorException", "internalServerException"])
def test_boto3_reads_an_error_amid_a_stream(stand_in: StandIn, client: Client, name: str) -> None:
    stand_in.turns.append(Turn(after=2, then=name))
    stream = iter(client().converse_stream(modelId=MODEL, messages=SAID)["stream"])
    assert list(next(stream)) == ["messageStart"]
    assert list(next(stream)) == ["contentBlockDelta"]
    with pytest.raises(exceptions.EventStreamError) as found:
        next(stream)
    assert found.value.response["Error"] == {"Code": name, "Message": "no"}


@pytest.mark.parametrize("wrong", [{"secret": "another"}, {"key": "ANOTHER"}])
def test_a_request_that_is_signed_by_another_is_refused(
    stand_in: StandIn, client: Client, wrong: dict[str, str]
) -> None:
    with pytest.raises(exceptions.ClientError) as found:
        client(**wrong).converse(modelId=MODEL, messages=SAID)
    assert found.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert stand_in.asked == []


def test_a_region_that_is_down_hangs_up_and_another_does_not(stand_in: StandIn, client: Client) -> None:
    stand_in.down.add("eu-west-1")
    with pytest.raises(exceptions.ConnectionClosedError):
        client().converse(modelId=MODEL, messages=SAID)
    assert client("us-east-1").converse(modelId=MODEL, messages=SAID)["stopReason"] == "end_turn"


def test_a_stream_that_stands_still_is_noticed_at_both_ends(stand_in: StandIn, client: Client) -> None:
    stand_in.turns.append(Turn(after=2, then="stall"))
    answer = client().converse_stream(modelId=MODEL, messages=SAID)
    with pytest.raises(ReadTimeoutError):
        list(answer["stream"])
    answer["stream"].close()
    assert stand_in.saw("gone", 1)
    assert stand_in.saw("open", 0)


def test_a_frame_is_what_the_specification_says() -> None:
    # Of the specification's test vectors, the empty message: https://github.com/awslabs/aws-c-event-stream.
    assert bedrock.frame({}, b"").hex() == "000000100000000005c248eb7d98c8ff"
