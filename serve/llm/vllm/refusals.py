"""What vLLM says of a request that it doesn't answer, in OpenAI's terms.

Statuses: vLLM's 422 and 501 are 400 here, as at OpenAI. Codes: OpenAI's where it has one for the case.
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serve.llm.backend import Body, Operation
from serve.llm.vllm.arguments import MOST_CHOICES, MOST_INPUTS
from serve.llm.vllm.messages import Refused

TOO_LONG = re.compile(r"context length|maximum model length|max_model_len|maximum input length", re.IGNORECASE)

VALUE = re.compile(r" \(parameter=.*\)\Z", re.DOTALL)
"""What vLLM puts at the end of an error: the parameter, which an answer has a field for, and its value."""

SHOWN_CHARACTERS = 500

INPUT: Mapping[Operation, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}

FAILED = "the model's server failed at this request; its log has the reason"
GONE = "the model's server is not there just now"

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}


def refusal(operation: Operation, status: int, message: str, param: str | None = None) -> Refused:
    """vLLM's own error."""
    if status == 503:
        return Refused(503, "server_overloaded", _short(message))
    if status >= 500 and status != 501:
        return Refused(500, "server_error", FAILED)
    if status == 404:
        return Refused(404, "model_not_found", _short(message), "model")
    if TOO_LONG.search(message):
        return Refused(400, "context_length_exceeded", _short(message), INPUT[operation])
    return Refused(400, "invalid_value" if param else "invalid_request_error", _short(message), param)


def rejection(first: Mapping[str, Any], param: str | None) -> Refused:
    """The first thing that pydantic found in a body. ``param``: where, as a client knows it."""
    kind = str(first["type"])
    code = CODES.get(kind, "invalid_type" if kind.endswith("_type") or "_parsing" in kind else "invalid_value")
    text = str(first["msg"]).removeprefix("Value error, ")
    return Refused(400, code, _short(f"{param}: {text}" if param else text), param)


def objection(operation: Operation, body: Body) -> Refused | None:
    """What vLLM would take and OpenAI doesn't, or would not bear."""
    if operation == "embeddings":
        inputs = _several(body.get("input"))
        return _too_many("input", MOST_INPUTS, inputs) if inputs > MOST_INPUTS else None
    n = body.get("n")
    choices = (n if isinstance(n, int) else 1) * _several(body.get("prompt"))
    if choices > MOST_CHOICES:
        return _too_many("n", MOST_CHOICES, choices)
    messages = body.get("messages")
    if operation == "chat" and isinstance(messages, list):
        for index, message in enumerate(messages):
            role = message.get("role") if isinstance(message, dict) else None
            if isinstance(role, str) and role not in ROLES:
                param = f"messages.{index}.role"
                return Refused(400, "invalid_value", f"{param}: expected one of {', '.join(ROLES)}", param)
    return None


def not_done(operation: Operation) -> Refused:
    """The model is of another kind."""
    return Refused(404, "model_not_found", f"this model is not one for {operation}", "model")


def _several(texts: object) -> int:
    """A list of texts, or of their tokens, is several; a list of one text's tokens is not."""
    return len(texts) if isinstance(texts, list) and texts and not isinstance(texts[0], int) else 1


def _too_many(param: str, most: int, came: int) -> Refused:
    return Refused(400, "invalid_value", f"{param}: expected at most {most} in a request, got {came}", param)


def _short(message: str) -> str:
    said = VALUE.sub("", message)
    return said if len(said) <= SHOWN_CHARACTERS else f"{said[:SHOWN_CHARACTERS]}…"
