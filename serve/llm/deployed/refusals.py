"""What any engine refuses, in OpenAI's terms, and what a client is told of a failure.

https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve.llm.backend import MOST_INPUTS, Body, Operation
from serve.llm.deployed.messages import Refused

MOST_CHOICES = 128
"""``n`` of a request, as at OpenAI, times its prompts."""

SHOWN_CHARACTERS = 500

INPUT: Mapping[Operation, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}

FAILED = "the model's server failed at this request; its log has the reason"
GONE = "the model's server is not there just now"

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}


def rejection(first: Mapping[str, Any], param: str | None) -> Refused:
    """The first thing that pydantic found in a body. ``param``: where, as a client knows it."""
    kind = str(first["type"])
    code = CODES.get(kind, "invalid_type" if kind.endswith("_type") or "_parsing" in kind else "invalid_value")
    text = str(first["msg"]).removeprefix("Value error, ")
    return Refused(400, code, short(f"{param}: {text}" if param else text), param)


def objection(operation: Operation, body: Body) -> Refused | None:
    """What an engine might take and OpenAI doesn't, or what it would not bear."""
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


def too_long(operation: Operation, message: str) -> Refused:
    """More tokens than the model's context has."""
    return Refused(400, "context_length_exceeded", short(message), INPUT[operation])


def not_done(operation: Operation) -> Refused:
    """The model is of another kind."""
    return Refused(404, "model_not_found", f"this model is not one for {operation}", "model")


def short(message: str) -> str:
    return message if len(message) <= SHOWN_CHARACTERS else f"{message[:SHOWN_CHARACTERS]}…"


def _several(texts: object) -> int:
    """A list of texts, or of their tokens, is several; a list of one text's tokens is not."""
    return len(texts) if isinstance(texts, list) and texts and not isinstance(texts[0], int) else 1


def _too_many(param: str, most: int, came: int) -> Refused:
    return Refused(400, "invalid_value", f"{param}: expected at most {most} in a request, got {came}", param)
