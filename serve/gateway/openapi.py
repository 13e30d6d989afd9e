"""The OpenAPI 3.1 document of the ingress, put together from what each protocol says of itself.

A new protocol is a file ``NAME_openapi.py`` with a ``PROTOCOL`` and a line in :data:`PROTOCOLS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve.gateway import invocations_openapi, open_inference_openapi, openai_openapi
from serve.gateway.operations import Operation, Protocol, Schema, reference
from serve.gateway.transport import Endpoint, Transport

PROTOCOLS: dict[str, Protocol] = {
    "open_inference": open_inference_openapi.PROTOCOL,
    "invocations": invocations_openapi.PROTOCOL,
    "openai": openai_openapi.PROTOCOL,
}
"""By the names of ``TRANSPORTS`` and ``LANGUAGE``."""

TITLE = "ML inference ingress"
INTRODUCTION = """Predictions of versioned models, each checked against the contract that its version was trained with.

Bodies may come compressed (`content-encoding: gzip` or `deflate`), and answers of 2 KiB and more go out so where \
`accept-encoding` takes it. A GET endpoint answers HEAD too. Every answer names its request in `x-request-id`."""

EVERYWHERE = (400, 405, 408, 431, 500, 503)
BEHIND_A_KEY = (401, 403, 429)

ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    400: ("The request is not of the protocol's shape, or not what the model's contract asks for.", ()),
    401: ("No key came, or not a good one.", ("www-authenticate",)),
    403: ("This key may not do this.", ()),
    404: ("No such model, or not this version of it.", ()),
    405: ("Another method is expected here.", ("allow",)),
    408: ("The request was not read and answered in time.", ()),
    413: ("The body is too large, compressed or not.", ()),
    415: ("The media type or the content coding is not understood.", ()),
    429: ("A limit or a budget of the key or of the model is reached.", ("retry-after",)),
    431: ("The headers are too large.", ()),
    500: ("The server failed; its log has the reason under the request's x-request-id.", ()),
    502: ("The server of a language model failed.", ()),
    503: ("Not now: a model is not loaded or failed, or too many requests wait.", ("retry-after",)),
    504: ("The server of a language model did not answer in time.", ()),
}
"""Every status but 200: what it means, and the headers that come with it."""

HEADERS: dict[str, tuple[str, Schema]] = {
    "x-request-id": ("The request's own id where it has one, else a new one.", {"type": "string"}),
    "model-name": ("Which model answered.", {"type": "string"}),
    "model-version": ("Which version of it.", {"type": "string"}),
    "prompt-name": ("Which prompt the request was filled from, where from one.", {"type": "string"}),
    "prompt-version": ("Which version of it.", {"type": "string"}),
    "inference-header-content-length": ("Bytes of JSON before raw bytes.", {"type": "integer", "minimum": 0}),
    "www-authenticate": ("Which scheme is asked for.", {"type": "string"}),
    "allow": ("The methods that are served here.", {"type": "string"}),
    "retry-after": ("Seconds after which it may succeed.", {"type": "integer", "minimum": 1}),
    **{
        f"x-ratelimit-{what}-{kind}": (f"{meaning} of {kind}, where they are limited.", {"type": "number"})
        for kind in ("requests", "rows", "concurrency")
        for what, meaning in (
            ("limit", "The limit"),
            ("remaining", "What is left"),
            ("reset", "Seconds until all is there again"),
        )
        if (what, kind) != ("reset", "concurrency")
    },
}

REQUEST_HEADERS: dict[str, tuple[str, Schema]] = {
    "x-request-id": ("Names the request in the answer and in the log.", {"type": "string"}),
    "x-request-timeout-seconds": ("How long the client waits.", {"type": "number", "exclusiveMinimum": 0}),
}


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A served model: its inputs and outputs by name, each with the protocol's data type (``FP32``, ``BYTES`` …)."""

    name: str
    version: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def description(
    transports: Mapping[str, Transport], models: Sequence[ModelDescription] | None, version: str
) -> dict[str, object]:
    """The document for these protocols. ``models`` says which there are now; ``None`` leaves it open.

    Raises:
        KeyError: a protocol has no part in :data:`PROTOCOLS`, or an endpoint no operation there.
    """
    paths: dict[str, dict[str, object]] = {}
    schemas: dict[str, Schema] = {}
    responses: dict[str, object] = {}
    for name, transport in transports.items():
        protocol = PROTOCOLS[name]
        schemas |= protocol.schemas
        for status in ERRORS:
            responses[f"{protocol.error}{status}"] = _error(protocol, status)
        for endpoint in transport.endpoints:
            operation = protocol.operations[f"{endpoint.method} {endpoint.path}"]
            path = paths.setdefault(endpoint.path, _path(endpoint.path, models))
            path[endpoint.method.lower()] = _operation(protocol, endpoint, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": INTRODUCTION + _served(models)},
        "servers": [{"url": "/"}],
        "tags": [{"name": PROTOCOLS[name].title, "description": PROTOCOLS[name].description} for name in transports],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()},
            "parameters": {
                name: {"name": name, "in": "header", "description": text, "schema": schema}
                for name, (text, schema) in REQUEST_HEADERS.items()
            },
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key, where the ingress asks for keys."}
            },
        },
    }


def _operation(protocol: Protocol, endpoint: Endpoint, operation: Operation) -> dict[str, object]:
    limited = () if endpoint.open else tuple(name for name in HEADERS if name.startswith("x-ratelimit-"))
    statuses = sorted({*EVERYWHERE, *operation.errors, *(() if endpoint.open else BEHIND_A_KEY)})
    found: dict[str, object] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()} {endpoint.path}").strip("_"),
        "tags": [protocol.title],
        "summary": operation.summary,
        "description": operation.description,
        # An empty one beside it: where the settings ask for no keys, none is needed.
        "security": [] if endpoint.open else [{"key": []}, {}],
        "parameters": [
            *({"$ref": f"#/components/parameters/{name}"} for name in REQUEST_HEADERS),
            *(
                {"name": name, "in": "header", "required": False, "schema": schema}
                for name, schema in operation.headers.items()
            ),
        ],
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": _headers("x-request-id", *operation.answer_headers, *limited),
                "content": {media_type: {"schema": schema} for media_type, schema in operation.answer.items()},
            },
            **{str(status): {"$ref": f"#/components/responses/{protocol.error}{status}"} for status in statuses},
        },
    }
    if operation.request:
        found["requestBody"] = {
            "required": operation.body_required,
            "content": {
                media_type: {"schema": schema}
                | ({"example": operation.examples[media_type]} if media_type in operation.examples else {})
                for media_type, schema in operation.request.items()
            },
        }
    return found


def _error(protocol: Protocol, status: int) -> dict[str, object]:
    meaning, headers = ERRORS[status]
    return {
        "description": meaning,
        "headers": _headers("x-request-id", *headers),
        "content": {"application/json": {"schema": reference(protocol.error)}},
    }


def _headers(*names: str) -> dict[str, object]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _path(path: str, models: Sequence[ModelDescription] | None) -> dict[str, object]:
    known: dict[str, list[object]] = {
        "model": [model.name for model in models or ()],
        "version": [model.version for model in models or ()],
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1} | ({"examples": known[name]} if known.get(name) else {}),
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    return {"parameters": parameters} if parameters else {}


def _served(models: Sequence[ModelDescription] | None) -> str:
    lines = [
        f"- `{model.name}` version {model.version}: "
        f"{', '.join(f'{name} {kind}' for name, kind in model.inputs.items())} → "
        f"{', '.join(f'{name} {kind}' for name, kind in model.outputs.items())}"
        for model in models or ()
    ]
    return "\n\nServed now:\n\n" + "\n".join(lines) if lines else ""
