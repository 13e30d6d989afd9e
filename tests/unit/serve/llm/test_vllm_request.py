"""What a body must be before vLLM's own classes read it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.vllm.request import misshapen, translated

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
NAMED = {"type": "function", "function": {"name": "f"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": 5}, "messages", "invalid_type"),
        ({"messages": [5]}, "messages.0", "invalid_type"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages.0.tool_calls", "invalid_type"),
        ({"tools": 5, "tool_choice": NAMED}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}], "tool_choice": NAMED}, "tools.0.function", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name", "missing_required_parameter"),
        ({"tools": [{"type": "custom", "custom": {}}, NAMED], "tool_choice": NAMED}, "tools.0.type", "invalid_value"),
        ({"structured_outputs": "x"}, "structured_outputs", "invalid_type"),
        ({"structured_outputs": ["x"]}, "structured_outputs", "invalid_type"),
        ({"response_format": "json"}, "response_format", "invalid_type"),
    ],
)
def test_what_vllm_would_fail_at_is_said_with_its_place(fields: dict[str, Any], param: str, code: str) -> None:
    refused = misshapen("chat", {**CHAT, **fields})
    assert refused is not None
    assert (refused.status, refused.param, refused.code) == (400, param, code)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": None, "tool_choice": None, "response_format": None},
        {"tools": [NAMED], "tool_choice": "auto"},
        {"tools": [NAMED], "tool_choice": NAMED, "what": "ever"},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}, {"role": "user", "content": [{"a": 1}]}]},
    ],
)
def test_what_it_takes_is_left_to_it(fields: dict[str, Any]) -> None:
    assert misshapen("chat", {**CHAT, **fields}) is None


@given(st.dictionaries(st.sampled_from(["messages", "tools", "tool_choice", "structured_outputs", "n"]), JSON))
def test_whatever_comes_is_taken_or_refused(body: dict[str, Any]) -> None:
    for operation in ("chat", "completions", "embeddings"):
        refused = misshapen(operation, body)
        assert refused is None or refused.status == 400


@pytest.mark.parametrize(
    ("fields", "greedy"),
    [
        ({"temperature": 0}, False),
        ({"temperature": 0, "n": 1}, False),
        ({"temperature": 0, "n": 2}, True),
        ({"temperature": 0.5, "n": 2}, False),
        ({"top_p": 0}, True),
        ({"top_p": 0.1}, False),
        ({"n": "2", "temperature": 0}, False),
    ],
)
def test_the_likeliest_answer_is_had_several_times_too(fields: dict[str, Any], greedy: bool) -> None:
    found = translated({**CHAT, **fields})
    assert (found.get("top_k") == 1) == greedy
    assert greedy or found == {**CHAT, **fields}
