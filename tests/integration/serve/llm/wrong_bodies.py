"""Fields that make a request for a chat wrong, with the status, the code and the parameter of the error."""

from __future__ import annotations

from typing import Any

DEEP: dict[str, Any] = {"type": "object"}
for _ in range(2000):
    DEEP = {"type": "object", "properties": {"a": DEEP}}

SLOW = {"allOf": [{"type": "string", "pattern": f".*a.{{{count}}}b.*"} for count in range(10, 30)]}

WRONG: dict[str, tuple[dict[str, Any], int, str | None, str | None]] = {
    "giant prompt": (
        {"messages": [{"role": "user", "content": "hello " * 200_000}]}, 400, "context_length_exceeded", "messages",
    ),
    "long prompt": (
        {"messages": [{"role": "user", "content": "hello " * 3000}]}, 400, "context_length_exceeded", "messages",
    ),
    "stop words": ({"stop": [str(number) for number in range(10_000)]}, 400, None, "stop"),
    "no schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": "no"}}}, 400,
        "invalid_type", "response_format.json_schema.schema",
    ),
    "a bad schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "y"}}}}, 400,
        None, None,
    ),
    "a deep schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": DEEP}}}, 400, None, None,
    ),
    "a schema that takes too long": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SLOW}}}, 400, None, None,
    ),
    "a bad regex": ({"structured_outputs": {"regex": "((("}}, 400, None, None),
    "a role": ({"messages": [{"role": "boss", "content": "x"}]}, 400, "invalid_value", "messages.0.role"),
    "no role": ({"messages": [{"content": "x"}]}, 400, None, "messages.0.role"),
    "a number for a role": ({"messages": [{"role": 5, "content": "x"}]}, 400, None, "messages.0.role"),
    "no messages": ({"messages": []}, 400, None, None),
    "text for messages": ({"messages": "hi"}, 400, "invalid_type", "messages"),
    "negative tokens": ({"max_tokens": -1}, 400, "invalid_value", "max_tokens"),
    "negative completion tokens": ({"max_completion_tokens": -5}, 400, "invalid_value", None),
    "no tokens": ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
    "a negative temperature": ({"temperature": -3}, 400, "invalid_value", "temperature"),
    "text for a temperature": ({"temperature": "hot"}, 400, "invalid_type", "temperature"),
    "a large top_p": ({"top_p": 7}, 400, "invalid_value", "top_p"),
    "no answers": ({"n": 0}, 400, None, None),
    "too many answers": ({"n": 10**9}, 400, "invalid_value", "n"),
    "too many logprobs": ({"logprobs": True, "top_logprobs": 1000}, 400, "invalid_value", None),
    "a bias for no token": ({"logit_bias": {"99999999": 5}}, 400, "invalid_value", "logit_bias"),
    "a tool without a function": ({"tools": [{"type": "function"}]}, 400, None, "tools.0.function"),
    "a tool without a name": (
        {"tools": [{"type": "function", "function": {}}]}, 400, None, "tools.0.function.name",
    ),
    "a choice of a tool without a function": (
        {"tools": [{"type": "function"}], "tool_choice": {"type": "function", "function": {"name": "f"}}}, 400, None,
        "tools.0.function",
    ),
    "a custom tool": (
        {"tools": [{"type": "custom", "custom": {"name": "c"}}, {"type": "function", "function": {"name": "f"}}],
         "tool_choice": {"type": "function", "function": {"name": "f"}}}, 400, None, "tools.0.type",
    ),
    "a number for tools": ({"tools": 5}, 400, "invalid_type", "tools"),
    "no list of messages": ({"messages": None}, 400, "invalid_type", "messages"),
    "a number for calls": (
        {"messages": [{"role": "assistant", "content": "x", "tool_calls": 5}]}, 400, "invalid_type",
        "messages.0.tool_calls",
    ),
    "a tool that is not there": (
        {"tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, None, "tool_choice",
    ),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]},
        400, None, None,
    ),
    "a template": ({"chat_template": "{{ 1 / 0 }}"}, 400, None, None),
    "an unknown parameter": ({"max_token": 5}, 400, "unknown_parameter", "max_token"),
    "what only OpenAI has": ({"web_search_options": {}}, 400, "unsupported_parameter", "web_search_options"),
    "another model": ({"model": "another"}, 404, "model_not_found", "model"),
}  # fmt: skip
