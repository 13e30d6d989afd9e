"""A conversation as OpenAI has it → as Converse has it.

Converse's messages take turns between user and assistant, so neighbours of one role become one message; a tool's
answer is a user's; what the system or the developer says stands apart, wherever in the conversation it was said.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import BackendError
from serve.llm.bedrock.reading import invalid, mapping, sequence, text, unsupported

Block = dict[str, Any]

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
DATA_URL = re.compile(r"data:image/([a-z]+);base64,", re.IGNORECASE)
IMAGE_FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "gif": "gif", "webp": "webp"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """``calls_tools``: there are tool calls or results in it, and Converse wants to see the tools then."""

    system: list[Block]
    messages: list[Block]
    calls_tools: bool


def conversation(messages: object) -> Conversation:
    """Raises: BackendError, of 400."""
    system: list[Block] = []
    turns: list[Block] = []
    for number, message in enumerate(sequence(messages, "messages")):
        where = f"messages[{number}]"
        message = mapping(message, where)
        role = message.get("role")
        if role in ("system", "developer"):
            system += _texts(message.get("content"), f"{where}.content")
            continue
        blocks = list(_blocks(role, message, where))
        speaker = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": speaker, "content": blocks})
    if not turns:
        raise invalid("messages", "something that a user says", messages)
    used = any("toolUse" in block or "toolResult" in block for turn in turns for block in turn["content"])
    return Conversation(system, turns, used)


def _blocks(role: object, message: Mapping[str, Any], where: str) -> Iterator[Block]:
    content = message.get("content")
    if role == "user":
        yield from _parts(content, f"{where}.content")
    elif role == "assistant":
        if message.get("function_call") is not None:
            raise unsupported("function_call", "expected tool_calls")
        # Between its calls and the results nothing may stand, so what it says comes first.
        said = content if content is not None else message.get("refusal")
        yield from _texts(said, f"{where}.content") if said is not None else ()
        for place, call in enumerate(sequence(message.get("tool_calls") or [], f"{where}.tool_calls")):
            yield _call(call, f"{where}.tool_calls[{place}]")
    elif role == "tool":
        result = {"toolUseId": _call_id(message.get("tool_call_id"), f"{where}.tool_call_id")}
        yield {"toolResult": {**result, "content": _texts(content, f"{where}.content")}}
    else:
        raise invalid(f"{where}.role", "system, developer, user, assistant or tool", role)


def _texts(content: object, where: str) -> list[Block]:
    """Texts alone. Converse refuses an empty one."""
    if isinstance(content, str):
        return [{"text": text(content, where)}] if content else []
    texts = []
    for number, part in enumerate(sequence(content, where)):
        place = f"{where}[{number}]"
        part = mapping(part, place)
        kind = part.get("type")
        if kind not in ("text", "refusal"):
            raise invalid(f"{place}.type", "text", kind)
        if said := text(part.get(kind), f"{place}.{kind}"):
            texts.append({"text": said})
    return texts


def _parts(content: object, where: str) -> Iterator[Block]:
    if isinstance(content, str):
        yield from _texts(content, where)
        return
    for number, part in enumerate(sequence(content, where)):
        place = f"{where}[{number}]"
        part = mapping(part, place)
        kind = part.get("type")
        if kind == "image_url":
            yield _image(part.get("image_url"), f"{place}.image_url")
        elif kind == "text":
            yield from _texts([part], where)
        else:
            raise invalid(f"{place}.type", "text or image_url", kind)


def _image(image: object, where: str) -> Block:
    url = text(mapping(image, where).get("url"), f"{where}.url")
    head = DATA_URL.match(url)
    if head is None or (image_format := IMAGE_FORMATS.get(head[1].lower())) is None:
        # Another's address would be fetched from inside our network, on anybody's word.
        raise BackendError(
            400,
            "invalid_image_url",
            f"{where}.url: expected data:image/…;base64,… of {', '.join(sorted(set(IMAGE_FORMATS.values())))}; "
            "images are not fetched from elsewhere",
            where,
        )
    encoded = url[head.end() :]
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        content = b""
    if not content:
        raise BackendError(400, "invalid_base64", f"{where}.url: expected an image in base64", where)
    return {"image": {"format": image_format, "source": {"bytes": encoded}}}


def _call(call: object, where: str) -> Block:
    call = mapping(call, where)
    if call.get("type", "function") != "function":
        raise invalid(f"{where}.type", "function", call.get("type"))
    function = mapping(call.get("function"), f"{where}.function")
    arguments = text(function.get("arguments") or "{}", f"{where}.function.arguments")
    try:
        given = json.loads(arguments, parse_constant=_no_number)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise invalid(f"{where}.function.arguments", "a JSON object", arguments)
    name = tool_name(function.get("name"), f"{where}.function.name")
    return {"toolUse": {"toolUseId": _call_id(call.get("id"), f"{where}.id"), "name": name, "input": given}}


def _no_number(name: str) -> None:
    raise ValueError(name)


def _call_id(value: object, where: str) -> str:
    if not isinstance(value, str) or CALL_ID.fullmatch(value) is None:
        raise invalid(where, "1 to 64 letters, digits, _, ., : or -", value)
    return value


def tool_name(value: object, where: str) -> str:
    if not isinstance(value, str) or TOOL_NAME.fullmatch(value) is None:
        raise invalid(where, "1 to 64 letters, digits, _ or -", value)
    return value
