"""Through the values of a resource, and into the JSON and the user data that are written in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

USER_DATA = frozenset({"userData", "userDataBase64"})


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value below ``value`` and its path: ``containerDefinitions[0].environment[1].value``."""
    for where, each in nodes(value, path):
        if not isinstance(each, dict | list):
            yield where, each


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below ``value``, itself first; a text that is JSON is followed by what it says."""
    yield path, value
    for where, each in children(value, path):
        yield from nodes(each, where)
    if isinstance(value, str):
        inner = document(value)
        if inner is not None:
            yield from nodes(inner, path)
        elif last(path) in USER_DATA:
            text = decoded(value)
            if text != value:
                yield path, text


def children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a mapping or a list has in it; nothing of any other value."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield join(path, str(key)), each
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield f"{path}[{index}]", each


def document(text: Any) -> dict[str, Any] | list[Any] | None:
    """What a text says where it is a JSON object or list."""
    if not isinstance(text, str) or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def decoded(text: str) -> str:
    """Base64's text, and any other text as it is."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def last(path: str) -> str:
    """The property's own name: ``value`` of ``environment[1].value``."""
    return path.rpartition(".")[2].partition("[")[0]
