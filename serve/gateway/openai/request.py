"""What a request may be before a backend sees it: whole, bounded, and clear about its model and its stream.

Everything else is the backend's to judge, in whose terms the rest is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import SHOWN_CHARACTERS, MalformedRequest, ParameterRejected, UnsupportedMediaType, shown
from serve.gateway.transport import Call, decode_json
from serve.llm.backend import MOST_INPUTS, Operation

DEEPEST = 64
"""Arrays and objects within each other."""

MOST_NUMBERS = 2**19
MOST_VALUES = 100_000
"""Texts, arrays, objects and names in a body, and the numbers beside them: each is looked at while all others wait."""

NUMBERS = frozenset({int, float, bool, type(None)})

LONGEST_NAME = 256
"""Of a model, and of a parameter."""

LONGEST: dict[Operation, dict[str, int]] = {
    "chat": {"messages": 2048, "stop": 4, "tools": 128, "functions": 128, "logit_bias": 1024, "variables": 128},
    "completions": {"prompt": 128, "stop": 4, "logit_bias": 1024},
    "embeddings": {"input": MOST_INPUTS},
}
"""How many entries an array or an object may have: OpenAI's bounds, where it has one."""

HIGHEST: dict[Operation, dict[str, int]] = {
    "chat": {"n": 128, "top_logprobs": 20},
    "completions": {"n": 128, "best_of": 20, "logprobs": 20},
    "embeddings": {},
}
"""What multiplies the work or the answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``body`` is the backend's: of a stream it asks for the usage; ``usage``: whether the client did."""

    model: str
    body: dict[str, Any]
    usage: bool


MOST_PROMPT_TOKENS = 2**18
"""Of a text that comes as its tokens: more than fits a model, and little enough to be walked through at once."""


def decode(call: Call, operation: Operation) -> Asked:
    """Raises: MalformedRequest, ParameterRejected."""
    document = _object(call)
    for name in document:
        if len(name) > LONGEST_NAME:
            reason = f"expected a name of at most {LONGEST_NAME} characters, got {len(name)}"
            raise ParameterRejected(f"{name[:SHOWN_CHARACTERS]}…", reason, "unknown_parameter")
    model = _model(document)
    for name, most in LONGEST[operation].items():
        _check_length(name, document.get(name), most)
    for name, most in HIGHEST[operation].items():
        _check_number(name, document.get(name), most)
    return Asked(model, *_streamed(document, operation))


def _object(call: Call) -> dict[str, Any]:
    try:
        document = decode_json(call)
    except UnsupportedMediaType as error:
        # A 400, as of OpenAI.
        raise MalformedRequest(str(error)) from error
    _check_size(document)
    if type(document) is not dict:
        raise MalformedRequest(f"the body: expected an object, got {shown(document)}")
    return document


def _check_size(document: object) -> None:
    level: list[Any] = [[document]]
    numbers = values = 0
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for parent in level:
            others = [child for child in _children(parent) if type(child) not in NUMBERS]
            numbers += len(parent) - len(others)
            values += len(others) + (len(parent) if type(parent) is dict else 0)
            if numbers > MOST_NUMBERS or values > MOST_VALUES:
                raise MalformedRequest(
                    f"the body: expected at most {MOST_VALUES} texts, names, arrays and objects and {MOST_NUMBERS} "
                    "numbers, got more"
                )
            below += [child for child in others if type(child) is dict or type(child) is list]
        level = below
        if not level:
            return
    raise MalformedRequest(f"the body: expected at most {DEEPEST} arrays and objects within each other, got more")


def _children(parent: Any) -> Iterable[Any]:
    return parent.values() if type(parent) is dict else parent


def _model(document: dict[str, Any]) -> str:
    model = document.get("model")
    if model is None:
        raise ParameterRejected("model", "expected the name of a model, got none", "missing_required_parameter")
    if type(model) is not str:
        raise ParameterRejected("model", f"expected the name of a model, got {shown(model)}", "invalid_type")
    if not 0 < len(model) <= LONGEST_NAME:
        raise ParameterRejected("model", f"expected 1 to {LONGEST_NAME} characters, got {len(model)}")
    return model


def _check_length(name: str, value: object, most: int) -> None:
    if (type(value) is not list and type(value) is not dict) or len(value) <= most:
        return
    if type(value) is list and name in ("prompt", "input") and type(value[0]) is int:
        # The tokens of one text.
        most = MOST_PROMPT_TOKENS
        if len(value) <= most:
            return
    kind = "array" if type(value) is list else "object"
    reason = f"expected at most {most} entries, got {len(value)}"
    raise ParameterRejected(name, reason, f"{kind}_above_max_length")


def _check_number(name: str, value: object, most: int) -> None:
    if value is None:
        return
    if type(value) is not int:
        raise ParameterRejected(name, f"expected a whole number, got {shown(value)}", "invalid_type")
    if value < 0:
        raise ParameterRejected(name, f"expected 0 or more, got {value}", "integer_below_min_value")
    if value > most:
        raise ParameterRejected(name, f"expected at most {most}, got {value}", "integer_above_max_value")


def _streamed(document: dict[str, Any], operation: Operation) -> tuple[dict[str, Any], bool]:
    """The body for the backend, and whether the client asks for a stream's usage."""
    stream, options = document.pop("stream", None), document.pop("stream_options", None)
    if stream is not None and type(stream) is not bool:
        raise ParameterRejected("stream", f"expected true or false, got {shown(stream)}", "invalid_type")
    if options is not None and type(options) is not dict:
        raise ParameterRejected("stream_options", f"expected an object, got {shown(options)}", "invalid_type")
    if not stream:
        if options is not None:
            raise ParameterRejected("stream_options", "expected none where stream is not true")
        return document, False
    if operation == "embeddings":
        raise ParameterRejected("stream", "embeddings come in one piece, expected false", "unsupported_parameter")
    usage = (options or {}).get("include_usage")
    if usage is not None and type(usage) is not bool:
        name = "stream_options.include_usage"
        raise ParameterRejected(name, f"expected true or false, got {shown(usage)}", "invalid_type")
    asked = {**document, "stream": True, "stream_options": {**(options or {}), "include_usage": True}}
    return asked, bool(usage)
