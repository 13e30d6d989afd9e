"""The tools of a request: which the model is shown, and whether it is held to call them.

https://platform.openai.com/docs/api-reference/chat/create#chat_create-tools
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.llm.deployed.schemas import Part
from serve.llm.huggingface.calls import BEGIN, END, head
from serve.llm.huggingface.grammars import json_of
from serve.llm.huggingface.refusals import rejected


class RequestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Function(RequestModel):
    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(RequestModel):
    type: Literal["function"]
    function: Function


class ChosenFunction(RequestModel):
    name: str


class Chosen(RequestModel):
    """The one tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


@dataclass(frozen=True)
class ToolUse:
    """``shown``: as a chat template takes them. ``parts``: what is to be tried of them. ``held``: a call must come, and
    the last of the parts is its grammar. ``named``: of the one that was named. ``most``: calls in an answer."""

    shown: list[dict[str, Any]]
    parts: tuple[Part, ...]
    held: bool
    named: bool
    most: int | None


def tool_use(tools: Sequence[Tool] | None, choice: object, *, parallel: bool) -> ToolUse | None:
    """What the model is to do with its tools; ``None``: it is shown none.

    Raises:
        Rejected: the choice is none, or of a tool that isn't there.
    """
    name = _chosen(choice)
    if not tools:
        if choice not in (None, "none"):
            raise rejected("tool_choice", "expected none without tools")
        return None
    if choice == "none":
        return None
    functions = [(index, tool.function) for index, tool in enumerate(tools)]
    if name is not None:
        functions = [(index, function) for index, function in functions if function.name == name]
        if not functions:
            raise rejected("tool_choice", f"expected one of the tools, got {name}")
    for index, function in functions:
        if (kind := (function.parameters or {}).get("type", "object")) != "object":
            raise rejected(_param(index), f'expected a schema of the type "object", got {json.dumps(kind)}')
    forced = choice == "required" or name is not None
    one = name is not None or not parallel
    return ToolUse(
        shown=[tool.model_dump(exclude_none=True) for tool in tools],
        parts=(*_grammars(functions), _calls(functions, one=one)) if forced else tuple(_schemas(functions)),
        held=forced,
        named=name is not None,
        most=1 if one else None,
    )


def _chosen(choice: object) -> str | None:
    if choice is None or (isinstance(choice, str) and choice in ("none", "auto", "required")):
        return None
    try:
        return Chosen.model_validate(choice).function.name
    except ValidationError as error:
        raise rejected("tool_choice", 'expected "none", "auto", "required" or a function with its name') from error


def _param(index: int) -> str:
    return f"tools.{index}.function.parameters"


def _schemas(functions: Sequence[tuple[int, Function]]) -> Iterator[Part]:
    for index, function in functions:
        if function.parameters:
            yield Part("schema", _param(index), json.dumps(function.parameters))


def _grammars(functions: Sequence[tuple[int, Function]]) -> Iterator[Part]:
    """Each alone, so that it can be said which of them is wrong."""
    for index, function in functions:
        yield Part("grammar", _param(index), f"start: {_arguments(function)}")


def _arguments(function: Function) -> str:
    parameters = function.parameters or {"additionalProperties": False}
    return json_of({"type": "object"} | parameters, strict=bool(function.strict))


def _calls(functions: Sequence[tuple[int, Function]], *, one: bool) -> Part:
    lines = ["start: call" if one else 'start: call ("\\n" call)*']
    lines.append("call: " + " | ".join(f"call_{index}" for index, _ in functions))
    for index, function in functions:
        begin, end = json.dumps(f"{BEGIN}\n{head(function.name)}"), json.dumps(f"}}\n{END}")
        lines += [f"call_{index}: {begin} arguments_{index} {end}", f"arguments_{index}: {_arguments(function)}"]
    return Part("grammar", "tools", "\n".join(lines))
