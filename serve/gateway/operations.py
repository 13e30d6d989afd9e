"""What a protocol says of itself for the description at ``/openapi.json``, in OpenAPI's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Schema = dict[str, object]
"""A JSON Schema, as OpenAPI 3.1 has it."""

MODEL_HEADERS = ("model-name", "model-version")
"""The headers of an answer that a model made."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint. ``request`` and ``answer`` are by media type; ``errors`` those beside every endpoint's own."""

    summary: str
    description: str
    answer: Mapping[str, Schema]
    request: Mapping[str, Schema] = field(default_factory=dict)
    examples: Mapping[str, object] = field(default_factory=dict)
    body_required: bool = True
    headers: Mapping[str, Schema] = field(default_factory=dict)
    answer_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """One transport's part of the description. ``operations`` has an entry per endpoint: ``"POST /path"``."""

    title: str
    description: str
    error: str
    schemas: Mapping[str, Schema]
    operations: Mapping[str, Operation]


def reference(name: str) -> Schema:
    """A schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: object) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def array(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
VALUE: Schema = {"type": ["number", "string", "null"]}
"""A value of a column; what a column takes is for the model's contract to say."""
