"""OpenAI's chat request → Converse's.

What Converse can't do is refused and never dropped in silence, but for what says nothing (``n: 1``, ``user``).
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serve.gateway.errors import BackendError
from serve.llm.backend import Body
from serve.llm.bedrock.messages import Conversation, conversation, tool_name
from serve.llm.bedrock.reading import invalid, mapping, number, sequence, text, unknown, unsupported, whole
from serve.llm.openai_parameters import is_openai_s, says_nothing
from serve.llm.settings import Guardrail

MOST_STOPS = 2500

READ = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "response_format",
        "reasoning_effort",
        "additional_model_request_fields",
    }
)

ELSEWHERE = frozenset({"model", "stream", "stream_options"})

EFFORTS = ("low", "medium", "high", "xhigh")

FIELDS = frozenset({"thinking", "reasoning_config", "reasoningConfig", "top_k"})
"""Of a model's own. Others could ask for what a budget has not counted on, such as a longer answer."""


def chat(body: Body, guardrail: Guardrail | None = None) -> dict[str, Any]:
    """Converse's request.

    Raises:
        BackendError: of 400, with the parameter's name.
    """
    for name, value in body.items():
        if name not in READ and name not in ELSEWHERE and not says_nothing(name, value):
            raise unsupported(name) if is_openai_s(name) else unknown(name)
    talk = conversation(body.get("messages"))
    asked: dict[str, Any] = {"messages": talk.messages}
    if talk.system:
        asked["system"] = talk.system
    if limits := _inference(body):
        asked["inferenceConfig"] = limits
    if tools := _tools(body, talk):
        asked["toolConfig"] = tools
    if output := _output(body):
        asked["outputConfig"] = output
    if guardrail is not None:
        asked["guardrailConfig"] = {"guardrailIdentifier": guardrail.id, "guardrailVersion": guardrail.version}
    if fields := _fields(body.get("additional_model_request_fields")):
        asked["additionalModelRequestFields"] = fields
    return asked


def _inference(body: Body) -> dict[str, Any]:
    most = whole(body, "max_completion_tokens")
    older = whole(body, "max_tokens")
    found = {
        "maxTokens": older if most is None else most,
        "temperature": number(body, "temperature", 0, 1),
        "topP": number(body, "top_p", 0, 1),
        "stopSequences": _stops(body.get("stop")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _stops(stop: object) -> list[str] | None:
    if stop is None:
        return None
    stops = [stop] if isinstance(stop, str) else sequence(stop, "stop")
    if len(stops) > MOST_STOPS or not all(text(each, "stop") for each in stops):
        raise invalid("stop", f"at most {MOST_STOPS} texts, none empty", stop)
    return list(stops) or None


def _tools(body: Body, talk: Conversation) -> dict[str, Any] | None:
    choice = body.get("tool_choice")
    given = sequence(body.get("tools") or [], "tools")
    tools = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(given)]
    names = {tool["toolSpec"]["name"] for tool in tools}
    chosen = _choice(choice, names)
    if tools and choice != "none":
        return {"tools": tools, **({} if chosen is None else {"toolChoice": chosen})}
    if talk.calls_tools:
        param = "tool_choice" if tools else "tools"
        raise unsupported(param, "Bedrock wants the tools, free to be used, where a conversation has calls of them")
    return None


def _tool(tool: object, where: str) -> dict[str, Any]:
    tool = mapping(tool, where)
    if tool.get("type") != "function":
        raise invalid(f"{where}.type", "function", tool.get("type"))
    where = f"{where}.function"
    function = mapping(tool.get("function"), where)
    parameters = function.get("parameters")
    schema = {"type": "object", "properties": {}} if parameters is None else parameters
    spec: dict[str, Any] = {
        "name": tool_name(function.get("name"), f"{where}.name"),
        "inputSchema": {"json": _plain(mapping(schema, f"{where}.parameters"), f"{where}.parameters")},
    }
    if (description := function.get("description")) is not None and text(description, f"{where}.description"):
        spec["description"] = description
    if (strict := function.get("strict")) is not None:
        if not isinstance(strict, bool):
            raise invalid(f"{where}.strict", "true or false", strict)
        if strict:
            spec["strict"] = True
    return {"toolSpec": spec}


def _choice(choice: object, names: set[str]) -> dict[str, Any] | None:
    if choice is None or choice == "none":
        return None
    if choice == "auto":
        return {"auto": {}} if names else None
    if choice == "required" and names:
        return {"any": {}}
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        name = mapping(choice.get("function"), "tool_choice.function").get("name")
        if not isinstance(name, str) or name not in names:
            raise invalid("tool_choice.function.name", "one of the tools", name)
        return {"tool": {"name": name}}
    raise invalid("tool_choice", "none, auto, required or a function, of the tools given", choice)


def _output(body: Body) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (effort := body.get("reasoning_effort")) is not None:
        if effort not in EFFORTS:
            raise invalid("reasoning_effort", f"one of {', '.join(EFFORTS)}", effort)
        found["effort"] = effort
    if (wanted := body.get("response_format")) is not None:
        kind = mapping(wanted, "response_format").get("type")
        if kind == "json_schema":
            found["textFormat"] = _schema(wanted.get("json_schema"))
        elif kind == "json_object":
            raise unsupported("response_format", "Bedrock has json_schema, and no json_object")
        elif kind != "text":
            raise invalid("response_format.type", "text or json_schema", kind)
    return found


def _schema(given: object) -> dict[str, Any]:
    where = "response_format.json_schema"
    given = mapping(given, where)
    schema = mapping(given.get("schema"), f"{where}.schema")
    definition = {"schema": json.dumps(_plain(schema, f"{where}.schema"))}
    for name in ("name", "description"):
        if (value := given.get(name)) is not None:
            definition[name] = text(value, f"{where}.{name}")
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _fields(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    fields = mapping(given, "additional_model_request_fields")
    if others := sorted(set(fields) - FIELDS):
        raise unsupported(
            f"additional_model_request_fields.{others[0]}", f"expected one of {', '.join(sorted(FIELDS))}"
        )
    return dict(_plain(fields, "additional_model_request_fields"))


def _plain(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A document that JSON has, without the numbers that only Python's takes."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise BackendError(400, "invalid_value", f"{where}: expected JSON", where) from None
    return value
