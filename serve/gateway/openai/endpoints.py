"""Models, chat, completions and embeddings."""

from __future__ import annotations

import asyncio
import functools

from serve.context import RequestContext
from serve.dataplane import DataPlane
from serve.gateway.errors import ModelNotFound
from serve.gateway.openai.events import MEDIA_TYPE, Events
from serve.gateway.openai.request import decode
from serve.gateway.transport import Answer, Call, Endpoint, Headers, encode_json
from serve.llm.backend import Completed, Operation

PARSED_ON_THE_LOOP = 256 * 1024
"""The largest body that is parsed on the event loop: it takes a few milliseconds."""

OWNER = "ml-training-deployment"


async def _models(plane: DataPlane, call: Call) -> Answer:
    names = plane.language.names(call.context.caller) if plane.language is not None else []
    return Answer(encode_json({"object": "list", "data": [_described(name) for name in names]}))


async def _model(plane: DataPlane, call: Call) -> Answer:
    # Whether the caller may use it was asked before.
    name = call.path["model"]
    names = plane.language.names(call.context.caller) if plane.language is not None else []
    if name not in names:
        raise ModelNotFound(name, None, names)
    return Answer(encode_json(_described(name)))


async def _run(plane: DataPlane, call: Call, operation: Operation) -> Answer:
    if len(call.body) > PARSED_ON_THE_LOOP:
        asked = await asyncio.to_thread(decode, call, operation)
    else:
        asked = decode(call, operation)
    if plane.language is None:
        raise ModelNotFound(asked.model, None, [])
    found = await plane.language.run(operation, asked.body, call.context, call.request_id)
    version = call.context.version
    metadata, headers = _prompt(call.context)
    if isinstance(found, Completed):
        document = {**found.document, "model": asked.model}
        if metadata:
            document["metadata"] = {**(document.get("metadata") or {}), **metadata}
        return Answer(encode_json(document), model=asked.model, version=version, headers=headers)
    events = Events(found, asked.model, usage=asked.usage, metadata=metadata)
    return Answer(b"", media_type=MEDIA_TYPE, model=asked.model, version=version, headers=headers, chunks=events)


def _prompt(context: RequestContext) -> tuple[dict[str, str], Headers]:
    """The prompt that the request was filled from, as metadata of the answer and as headers."""
    if not context.prompt:
        return {}, ()
    name, version = context.prompt, context.prompt_version
    return {"prompt": name, "prompt_version": version}, (
        (b"prompt-name", name.encode("latin-1")),
        (b"prompt-version", version.encode("latin-1")),
    )


def _described(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


ENDPOINTS = (
    Endpoint("GET", "/v1/models", _models),
    Endpoint("GET", "/v1/models/{model}", _model),
    Endpoint("POST", "/v1/chat/completions", functools.partial(_run, operation="chat"), long=True),
    Endpoint("POST", "/v1/completions", functools.partial(_run, operation="completions"), long=True),
    Endpoint("POST", "/v1/embeddings", functools.partial(_run, operation="embeddings"), long=True),
)
