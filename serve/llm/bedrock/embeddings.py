"""Embeddings by InvokeModel, whose bodies are each model's own.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from serve.gateway.errors import BackendError
from serve.llm.backend import MOST_INPUTS, Body, Completed, Tokens, Work
from serve.llm.bedrock.ids import base
from serve.llm.bedrock.reading import invalid, sequence, text, unknown, unsupported, whole
from serve.llm.ledger.cost import CHARACTERS_A_TOKEN

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed"
COHERE_TEXTS = 96
"""Of one InvokeModel."""

AT_ONCE = 8
COUNT_HEADER = "x-amzn-bedrock-input-token-count"
KINDS = ("search_document", "search_query", "classification", "clustering")
KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user", "input_type"})

Invoke = Callable[[Mapping[str, Any]], Awaitable[tuple[dict[str, Any], Mapping[str, str]]]]
Vector = Sequence[float]


async def run(body: Body, model: str, invoke: Invoke, work: Work) -> Completed:
    """``work`` gets what was taken for no answer. Raises: ServeError."""
    asked = requests(body, base(model))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(request: Mapping[str, Any]) -> tuple[list[Vector], int]:
        async with gate:
            document, headers = await invoke(request)
        try:
            return read(document, headers, request)
        except BackendError:
            work.add(guessed(request))
            raise

    tasks = [asyncio.create_task(one(request)) for request in asked]
    try:
        answers = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(answer, BaseException):
                work.add(Tokens(input=answer[1]))
        raise
    vectors = [vector for found, _ in answers for vector in found]
    used = Tokens(input=sum(count for _, count in answers))
    encode = _encoded if body.get("encoding_format") == "base64" else list
    document = {
        "object": "list",
        "model": str(body.get("model") or model),
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": used.input, "total_tokens": used.input},
    }
    return Completed(document, used)


def requests(body: Body, model: str) -> list[dict[str, Any]]:
    """The bodies of as many calls as this one needs. ``model``: without a profile. Raises: BackendError, of 400."""
    if model != TITAN and not model.startswith(COHERE):
        raise BackendError(400, "unsupported_operation", "this model gives no embeddings", "model")
    if others := sorted(name for name, value in body.items() if name not in KNOWN and value is not None):
        raise unknown(others[0])
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format", "float or base64", body.get("encoding_format"))
    texts = _texts(body.get("input"))
    size = whole(body, "dimensions")
    kind = body.get("input_type")
    if model == TITAN:
        if kind is not None:
            raise unsupported("input_type", "this model has no such parameter")
        sized = {} if size is None else {"dimensions": size}
        return [{"inputText": each, "normalize": True, **sized} for each in texts]
    if kind is not None and kind not in KINDS:
        raise invalid("input_type", f"one of {', '.join(KINDS)}", kind)
    sized = {} if size is None else {"output_dimension": size}
    shared = {"input_type": kind or KINDS[0], "embedding_types": ["float"], **sized}
    return [{"texts": texts[first : first + COHERE_TEXTS], **shared} for first in range(0, len(texts), COHERE_TEXTS)]


def read(
    document: Mapping[str, Any], headers: Mapping[str, str], request: Mapping[str, Any]
) -> tuple[list[Vector], int]:
    """A call's vectors, one for each text, and its tokens. Raises: BackendError, of 502."""
    texts = _texts_of(request)
    try:
        found = document["embedding"] if "embedding" in document else document["embeddings"]
        if "embedding" in document:
            found = [found]
        elif isinstance(found, Mapping):
            found = found["float"]
        vectors = [[float(number) for number in vector] for vector in found]
        count = document.get("inputTextTokenCount") or headers.get(COUNT_HEADER)
        tokens = int(count) if count is not None else guessed(request).input
    except (KeyError, TypeError, ValueError) as error:
        raise BackendError(502, "server_error", "Bedrock's answer can't be read") from error
    if len(vectors) != len(texts):
        raise BackendError(502, "server_error", f"Bedrock gave {len(vectors)} embeddings for {len(texts)} texts")
    return list(vectors), tokens


def guessed(request: Mapping[str, Any]) -> Tokens:
    """Of a call whose tokens nobody told."""
    return Tokens(input=math.ceil(sum(map(len, _texts_of(request))) / CHARACTERS_A_TOKEN))


def _texts_of(request: Mapping[str, Any]) -> Sequence[str]:
    return request.get("texts") or [request.get("inputText", "")]


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else list(sequence(given, "input"))
    if not texts or len(texts) > MOST_INPUTS or not all(text(each, "input") for each in texts):
        raise invalid("input", f"a text or 1 to {MOST_INPUTS} of them, none empty", given)
    return texts


def _encoded(vector: Vector) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
