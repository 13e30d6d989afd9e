"""What a client sent, read with care: the gateway has looked at its bounds, and at nothing within."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.gateway.errors import BackendError, shown
from serve.llm.openai_parameters import unrecognized


def invalid(param: str, expected: str, came: object) -> BackendError:
    return BackendError(400, "invalid_value", f"{param}: expected {expected}, got {shown(came)}", param)


def unsupported(param: str, why: str = "Bedrock's Converse has no such parameter") -> BackendError:
    return BackendError(400, "unsupported_parameter", f"{param}: {why}", param)


def unknown(param: str) -> BackendError:
    return BackendError(400, "unknown_parameter", unrecognized(param), param)


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(name, f"a number from {low:g} to {high:g}", value)
    return value


def whole(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise invalid(name, "a whole number from 1", value)
    return value


def text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise invalid(where, "a text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(where, "a text of Unicode characters", value) from None
    return value


def mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(where, "an object", value)
    return value


def sequence(value: object, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise invalid(where, "an array", value)
    return value
