"""OpenAI's requests → Converse's: what botocore would take too, or a 400 that names the parameter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve.gateway.errors import BackendError
from serve.llm.bedrock import request
from serve.llm.settings import Guardrail
from tests.unit.serve.llm.converse import PIXEL, accepted

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "seen"}
HI = {"role": "user", "content": "Hi"}
USED = [HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]


def chat(*messages: Any, **others: Any) -> dict[str, Any]:
    asked = request.chat({"model": "m", "messages": list(messages) or [HI], **others})
    assert accepted(asked) == ""
    return asked


def refused(*messages: Any, **others: Any) -> BackendError:
    with pytest.raises(BackendError) as found:
        request.chat({"model": "m", "messages": list(messages) or [HI], **others})
    assert found.value.status == 400
    return found.value


def test_roles_that_follow_each_other_become_one_and_take_turns() -> None:
    asked = chat(
        {"role": "system", "content": "Be kind."},
        HI,
        {"role": "user", "content": [{"type": "text", "text": "there"}, {"type": "text", "text": ""}]},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL, {**CALL, "id": "t2"}]},
        RESULT,
        {**RESULT, "tool_call_id": "t2", "content": [{"type": "text", "text": "that"}]},
        {"role": "user", "content": "And?"},
        tools=[TOOL],
    )
    use = {"toolUseId": "t1", "name": "look", "input": {"a": 1}}
    assert asked["system"] == [{"text": "Be kind."}, {"text": "Be brief."}]
    assert asked["messages"] == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]},
        {
            "role": "assistant",
            "content": [{"text": "I look."}, {"toolUse": use}, {"toolUse": {**use, "toolUseId": "t2"}}],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "seen"}]}},
                {"toolResult": {"toolUseId": "t2", "content": [{"text": "that"}]}},
                {"text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize(("kind", "wanted"), [("png", "png"), ("jpeg", "jpeg"), ("JPG", "jpeg"), ("webp", "webp")])
def test_an_image_in_the_request_is_taken(kind: str, wanted: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{PIXEL}", "detail": "high"}}
    asked = chat({"role": "user", "content": [part]})
    assert asked["messages"][0]["content"] == [{"image": {"format": wanted, "source": {"bytes": PIXEL}}}]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/a.png", "invalid_image_url"),
        ("http://169.254.169.254/latest/meta-data", "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("data:image/tiff;base64,AAAA", "invalid_image_url"),
        ("data:image/png,AAAA", "invalid_image_url"),
        ("data:image/png;base64,", "invalid_base64"),
        ("data:image/png;base64,A*", "invalid_base64"),
    ],
)
def test_an_image_that_is_elsewhere_or_none_is_refused(url: str, code: str) -> None:
    error = refused({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})
    assert (error.openai_code, error.param) == (code, "messages[0].content[0].image_url")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "look"}}, {"tool": {"name": "look"}}),
    ],
)
def test_a_tool_choice_is_converses(choice: Any, wanted: Any) -> None:
    asked = chat(tools=[TOOL], tool_choice=choice)
    assert asked["toolConfig"] == {"tools": [SPEC], **({"toolChoice": wanted} if wanted else {})}


def test_no_choice_of_a_tool_leaves_the_tools_out() -> None:
    assert "toolConfig" not in chat(tools=[TOOL], tool_choice="none")
    assert "toolConfig" not in chat(tools=[], tool_choice="auto")


def test_a_conversation_with_calls_needs_its_tools() -> None:
    assert chat(*USED, tools=[TOOL])["toolConfig"] == {"tools": [SPEC]}
    assert refused(*USED).param == "tools"
    assert refused(*USED, tools=[TOOL], tool_choice="none").param == "tool_choice"


def test_a_strict_tool_is_strict_for_bedrock() -> None:
    function = {"name": "look", "description": "Looks.", "strict": True}
    assert chat(tools=[{"type": "function", "function": function}])["toolConfig"]["tools"] == [
        {
            "toolSpec": {
                "name": "look",
                "description": "Looks.",
                "inputSchema": {"json": {"type": "object", "properties": {}}},
                "strict": True,
            }
        }
    ]


def test_limits_are_converses() -> None:
    given = {"max_tokens": 5, "max_completion_tokens": 6, "temperature": 0.5, "top_p": 1, "stop": ["a", "b"]}
    wanted = {"maxTokens": 6, "temperature": 0.5, "topP": 1, "stopSequences": ["a", "b"]}
    assert chat(**given)["inferenceConfig"] == wanted
    assert chat(max_tokens=5, stop="a")["inferenceConfig"] == {"maxTokens": 5, "stopSequences": ["a"]}
    assert "inferenceConfig" not in chat(stop=[], max_tokens=None)


def test_a_schema_is_bedrocks_own_output_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    found = chat(response_format=wanted, reasoning_effort="high")["outputConfig"]
    definition = found["textFormat"]["structure"]["jsonSchema"]
    assert (definition["name"], json.loads(definition["schema"])) == ("answer", schema)
    assert (found["textFormat"]["type"], found["effort"]) == ("json_schema", "high")
    assert "outputConfig" not in chat(response_format={"type": "text"})


def test_a_guardrail_of_the_settings_goes_along() -> None:
    asked = request.chat({"messages": [HI]}, Guardrail(id="abc", version="3"))
    assert accepted(asked) == ""
    assert asked["guardrailConfig"] == {"guardrailIdentifier": "abc", "guardrailVersion": "3"}


def test_some_of_a_models_own_fields_go_along_and_no_others() -> None:
    fields = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5}
    assert chat(additional_model_request_fields=fields)["additionalModelRequestFields"] == fields
    error = refused(additional_model_request_fields={"max_tokens": 1_000_000})
    assert (error.openai_code, error.param) == ("unsupported_parameter", "additional_model_request_fields.max_tokens")


@pytest.mark.parametrize(
    "others",
    [
        {"n": 2},
        {"n": True},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"seed": 1},
        {"logit_bias": {"1": 2}},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 1},
        {"parallel_tool_calls": False},
        {"service_tier": "flex"},
        {"store": True},
        {"functions": [{}]},
        {"audio": {}},
        {"prediction": {}},
        {"web_search_options": {}},
        {"modalities": ["audio"]},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_converse_has_not_is_refused_by_its_name(others: dict[str, Any]) -> None:
    error = refused(**others)
    assert (error.openai_code, error.param) == ("unsupported_parameter", next(iter(others)))


def test_what_says_nothing_is_taken() -> None:
    said = {
        "n": 1,
        "logprobs": False,
        "seed": None,
        "logit_bias": {},
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "parallel_tool_calls": True,
        "store": False,
        "service_tier": "auto",
        "user": "me",
        "metadata": {"a": "b"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert chat(**said) == chat()


@pytest.mark.parametrize(
    ("others", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"tools": {}, "tool_choice": "required"}, "tool_choice"),
        ({"tools": "look"}, "tools"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": ["look"]}}},
         "tool_choice.function.name"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"reasoning_effort": "minimal"}, "reasoning_effort"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_place(others: dict[str, Any], param: str) -> None:
    error = refused(**others)
    assert (error.openai_code, error.param) == ("invalid_value", param)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "user", "content": ""}], "messages"),
        ([{"role": "system", "content": "a"}], "messages"),
        (["Hi"], "messages[0]"),
        ([{"role": "robot", "content": "a"}], "messages[0].role"),
        ([{"content": "a"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": "\ud800"}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages[0].content[0].type"),
        ([HI, {**RESULT, "tool_call_id": "a b"}], "messages[1].tool_call_id"),
        ([HI, {"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}], "messages[1].tool_calls[0].id"),
        (
            [HI, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "a", "arguments": "[1]"}}]}],
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            [HI, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "a", "arguments": '{"a": NaN}'}}]}],
            "messages[1].tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_wrong_message_is_refused_by_its_place(messages: list[Any], param: str) -> None:
    error = refused(*messages)
    assert (error.openai_code, error.param) == ("invalid_value", param)


def test_no_messages_are_refused() -> None:
    with pytest.raises(BackendError):
        request.chat({"model": "m"})
    with pytest.raises(BackendError):
        request.chat({"model": "m", "messages": []})
