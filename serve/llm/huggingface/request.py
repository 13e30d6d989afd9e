"""OpenAI's requests, as far as this engine answers them, and what they ask for.

https://platform.openai.com/docs/api-reference. Beside OpenAI's: ``top_k`` and ``ignore_eos``, as vLLM has them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from serve.llm.backend import Body, Operation
from serve.llm.deployed.messages import Refused
from serve.llm.deployed.refusals import MOST_CHOICES, rejection
from serve.llm.deployed.schemas import Part
from serve.llm.huggingface.grammars import held
from serve.llm.huggingface.refusals import Rejected, rejected
from serve.llm.huggingface.tools import RequestModel, Tool, ToolUse, tool_use
from serve.llm.openai_parameters import is_openai_s, says_nothing, unrecognized

COMPLETION_TOKENS = 16
"""Of a completion that says nothing else, as at OpenAI."""

INT64 = 2**63


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _content(value: object) -> object:
    """Parts of a text are one."""
    if not isinstance(value, list):
        return value
    return "".join(map(_part, value))


def _part(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in ("text", "refusal") and isinstance(said := part.get(kind), str):
        return said
    raise ValueError("expected a text, or parts of the type text")


class StreamOptions(RequestModel):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _SentBack(RequestModel):
    """Some clients send an answer back with all of its fields, also those that only another server has; empty ones say
    nothing.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, given: Any) -> Any:
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given


class Called(_SentBack):
    name: str
    arguments: str


class ToolCall(_SentBack):
    """``index``: of a stream's pieces, which some clients send back as they came."""

    id: str
    index: int | None = Field(default=None, exclude=True)
    type: Literal["function"]
    function: Called


class Message(_SentBack):
    """Thoughts and the places of quotations say nothing either."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str | None, BeforeValidator(_content)] = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    annotations: list[Any] | None = Field(default=None, exclude=True)
    reasoning: Any = Field(default=None, exclude=True)
    reasoning_content: Any = Field(default=None, exclude=True)


class JsonSchema(RequestModel):
    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    definition: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(RequestModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Request(RequestModel):
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1)]] | None, BeforeValidator(_texts)] = Field(
        default=None, max_length=4
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(default=None, max_length=1024)
    response_format: ResponseFormat | None = None
    ignore_eos: bool | None = None


class ChatRequest(_Request):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[Tool] | None = Field(default=None, min_length=1, max_length=128)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None


class CompletionRequest(_Request):
    prompt: Any
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. ``logprobs``: how many of the likeliest are told with each; ``None``: not even its own."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] | None = None
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class Asked:
    """A request. ``held``: what the answer must be, the last of it the grammar; none where it may be any text.

    ``prompts``: texts or their tokens, of completions; ``messages``: see :func:`for_template`.
    """

    operation: Operation
    sampling: Sampling
    n: int
    most_tokens: int | None
    stops: tuple[str, ...]
    stream: bool
    held: tuple[Part, ...]
    messages: list[dict[str, Any]]
    tools: ToolUse | None
    prompts: list[str | list[int]]


def read(operation: Operation, body: Body) -> Asked:
    """``operation``: one of ``chat`` and ``completions``.

    Raises:
        Rejected: the body is not OpenAI's, or asks for what this engine can't do.
    """
    request: ChatRequest | CompletionRequest
    kind: type[ChatRequest | CompletionRequest] = ChatRequest if operation == "chat" else CompletionRequest
    try:
        request = kind.model_validate(_asking(body, kind.model_fields))
    except ValidationError as error:
        raise Rejected(_refused(error)) from error
    if isinstance(request, ChatRequest):
        if request.top_logprobs is not None and not request.logprobs:
            raise rejected("top_logprobs", "expected none where logprobs is not true")
        most = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
        logprobs = (request.top_logprobs or 0) if request.logprobs else None
        messages, prompts = [_message(message) for message in request.messages], []
        tools = tool_use(request.tools, request.tool_choice, parallel=request.parallel_tool_calls is not False)
    else:
        if request.best_of not in (None, request.n or 1):
            raise rejected("best_of", "expected none, or as many as n")
        most = request.max_tokens if request.max_tokens is not None else COMPLETION_TOKENS
        logprobs, messages, tools, prompts = request.logprobs, [], None, _prompts(request.prompt)
    return Asked(
        operation=operation,
        sampling=Sampling(
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            top_k=max(0, request.top_k or 0),
            seed=request.seed,
            presence=request.presence_penalty or 0.0,
            frequency=request.frequency_penalty or 0.0,
            bias=_bias(request.logit_bias),
            logprobs=logprobs,
            ignore_eos=bool(request.ignore_eos),
        ),
        n=request.n or 1,
        most_tokens=most,
        stops=tuple(request.stop or ()),
        stream=bool(request.stream),
        held=_held(request.response_format),
        messages=messages,
        tools=tools,
        prompts=prompts,
    )


def _asking(body: Body, known: Container[str]) -> dict[str, Any]:
    """What of a body asks for something. Raises: Rejected: it asks for what OpenAI has, and this engine has not."""
    found = {name: value for name, value in body.items() if name in known or not says_nothing(name, value)}
    for name in found:
        if name not in known and is_openai_s(name):
            raise rejected(name, "this model's runtime has no such parameter", "unsupported_parameter")
    return found


def _refused(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        return rejection({"type": first["type"], "msg": unrecognized(str(param))}, param)
    return rejection(first, param)


def for_template(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As chat templates know them: with arguments as objects. Not before their length is known: it takes seconds."""
    return [
        message | {"tool_calls": list(map(_call, message["tool_calls"]))} if "tool_calls" in message else message
        for message in messages
    ]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        # It's what the model said then; a template can show it as a text too.
        return call
    return call | {"function": function | {"arguments": arguments}}


def _message(message: Message) -> dict[str, Any]:
    """Without the roles that only OpenAI has, and without what says nothing."""
    found = message.model_dump(exclude_none=True, exclude={"refusal"})
    found["role"] = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    found.setdefault("content", message.refusal or "")
    if not message.tool_calls:
        # As vLLM's answers have it. Some templates take any list for one with calls in it.
        found.pop("tool_calls", None)
    return found


def _bias(given: Mapping[str, float] | None) -> dict[int, float] | None:
    try:
        return {int(token): value for token, value in given.items()} if given else None
    except ValueError as error:
        raise rejected("logit_bias", "expected numbers of tokens as keys") from error


def _prompts(prompt: object) -> list[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(type(part) is int for part in prompt):
            return [prompt]
        if all(isinstance(part, str) or (isinstance(part, list) and _are_tokens(part)) for part in prompt):
            return list(prompt)
    raise rejected("prompt", "expected a text, its tokens, or several of these", "invalid_type")


def _are_tokens(tokens: list[Any]) -> bool:
    return bool(tokens) and all(type(token) is int for token in tokens)


def _held(form: ResponseFormat | None) -> tuple[Part, ...]:
    if form is None or form.type == "text":
        return ()
    if form.type == "json_object":
        return held("response_format", {"type": "object"}, strict=False)
    if form.json_schema is None:
        raise rejected("response_format.json_schema", "expected one", "missing_required_parameter")
    given = form.json_schema
    return held("response_format.json_schema.schema", given.definition, strict=bool(given.strict))
