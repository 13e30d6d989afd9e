"""What a body must be before vLLM's own classes read it, and what they don't take though OpenAI does.

Some of their checks look into the raw body, and where that is not as they expect the client's mistake would be a 500.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from serve.llm.backend import Body, Operation
from serve.llm.deployed.messages import Refused
from serve.llm.deployed.refusals import rejection, short
from serve.llm.openai_parameters import is_openai_s, says_nothing, unrecognized

GREEDY: Mapping[str, float | int] = {"temperature": 1.0, "top_p": 1.0, "top_k": 1}
"""The likeliest token each time, as vLLM takes it for several answers too."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Function(_Shape):
    name: str


class _Tool(_Shape):
    type: Literal["function"]
    function: _Function


class _Message(_Shape):
    tool_calls: list[dict[str, Any]] | None = None


class _Chat(_Shape):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None


class _Completion(_Shape):
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None


SHAPES: Mapping[Operation, TypeAdapter[Any]] = {
    "chat": TypeAdapter(_Chat),
    "completions": TypeAdapter(_Completion),
}


def misshapen(operation: Operation, body: Body) -> Refused | None:
    """What is not what it must be, in places where vLLM would fail at it."""
    if (shape := SHAPES.get(operation)) is None:
        return None
    try:
        shape.validate_python(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # Where pydantic tries several types it puts their names into the place of an error.
        place = [str(part) for part in first["loc"] if not (isinstance(part, str) and part in ("str", "dict[str,any]"))]
        return rejection(first, ".".join(place))
    return None


def unknown(given: Iterable[str], body: Body) -> Refused | None:
    """Of parameters that vLLM's classes don't have: the first that asks for something."""
    for name in sorted(given):
        if says_nothing(name, body.get(name)):
            continue
        if is_openai_s(name):
            return Refused(400, "unsupported_parameter", short(f"{name}: vLLM has no such parameter"), name)
        return Refused(400, "unknown_parameter", short(unrecognized(name)), name)
    return None


def translated(body: Body) -> dict[str, Any]:
    """The body, with what OpenAI's ranges have and vLLM's have not."""
    several = isinstance(body.get("n"), int) and body["n"] > 1
    if body.get("top_p") == 0 or (several and body.get("temperature") == 0):
        return {**body, **GREEDY}
    return dict(body)
