"""OpenAI's own parameters and messages at the runtimes whose schema is ours: what says nothing is passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serve.gateway.errors import BackendError
from serve.llm.bedrock import request as bedrock
from serve.llm.huggingface import request as huggingface
from serve.llm.huggingface.refusals import Rejected
from serve.llm.openai_parameters import says_nothing
from serve.llm.vllm.request import unknown

HI = {"role": "user", "content": "Hi"}

READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "bedrock": bedrock.chat,
    "huggingface": lambda body: huggingface.read("chat", {"model": "m", **body}),
}

NOTHING: list[tuple[str, Any]] = [
    ("user", "u"),
    ("metadata", {"a": "b"}),
    ("safety_identifier", "s"),
    ("prompt_cache_key", "k"),
    ("prompt_cache_options", {"ttl": "30m"}),
    ("store", False),
    ("store", None),
    ("service_tier", "auto"),
    ("modalities", ["text"]),
    ("verbosity", "medium"),
    ("reasoning_effort", None),
    ("functions", None),
    ("functions", []),
    ("prediction", None),
    ("audio", None),
    ("n", 1),
    ("ignore_eos", None),
    ("whatever", None),
]

SOMETHING: list[tuple[str, Any]] = [
    ("store", True),
    ("service_tier", "priority"),
    ("modalities", ["text", "audio"]),
    ("verbosity", "high"),
    ("functions", [{"name": "f"}]),
    ("prediction", {"type": "content", "content": "x"}),
    ("audio", {"voice": "v"}),
    ("web_search_options", {}),
    ("echo", True),
]

UNKNOWN = ["max_token", "guided_json", "dimensions"]


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], object]:
    return READERS[request.param]


def refusal(read: Callable[[dict[str, Any]], object], body: dict[str, Any]) -> tuple[int, str | None, str | None]:
    try:
        read(body)
    except BackendError as error:
        return error.status, error.openai_code, error.param
    except Rejected as error:
        return error.refused.status, error.refused.code, error.refused.param
    raise AssertionError("it was taken")


@pytest.mark.parametrize(("name", "value"), NOTHING)
def test_what_says_nothing_is_passed_over(read: Callable[[dict[str, Any]], object], name: str, value: Any) -> None:
    assert read({"messages": [HI], name: value}) == read({"messages": [HI]})


@pytest.mark.parametrize(("name", "value"), SOMETHING)
def test_what_asks_for_what_the_runtime_has_not_is_said(
    read: Callable[[dict[str, Any]], object], name: str, value: Any
) -> None:
    assert refusal(read, {"messages": [HI], name: value}) == (400, "unsupported_parameter", name)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_openai_has_not_either_is_said_to_be_unknown(read: Callable[[dict[str, Any]], object], name: str) -> None:
    assert refusal(read, {"messages": [HI], name: 5}) == (400, "unknown_parameter", name)


def test_vllm_says_so_of_what_its_own_classes_have_not() -> None:
    wrong = {"messages": [HI], "max_token": 5}
    found = unknown(["max_token", "user"], wrong)
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "unknown_parameter", "max_token")
    assert unknown(["user", "store", "audio"], {"user": "u", "store": False}) is None


def test_true_is_no_number() -> None:
    assert not says_nothing("n", True)
    assert not says_nothing("parallel_tool_calls", 1)
    assert says_nothing("presence_penalty", 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"content": "Hello.", "refusal": None, "annotations": [], "audio": None, "function_call": None},
        {"content": "Hello.", "annotations": [{"type": "url_citation", "url_citation": {"url": "http://a"}}]},
        {"content": "Hello.", "reasoning_content": "They greet."},
        {"content": "Hello.", "reasoning": "They greet.", "tool_calls": []},
        {"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]},
        {"content": [{"type": "refusal", "refusal": "Hello."}]},
        {"content": None, "refusal": "Hello."},
    ],
    ids=["openai", "cited", "bedrock", "vllm", "parts", "refused", "a refusal"],
)
def test_an_answer_of_any_runtime_may_be_sent_back(
    read: Callable[[dict[str, Any]], object], answer: dict[str, Any]
) -> None:
    found = repr(read({"messages": [HI, {"role": "assistant", **answer}, {**HI, "content": "And?"}]}))
    assert "lo." in found
    assert "They greet" not in found
