"""A backend's chunks as server-sent events."""

from __future__ import annotations

from collections.abc import Mapping

from serve.gateway.errors import ServeError
from serve.gateway.openai.problem import error_body
from serve.gateway.transport import encode_json
from serve.llm.backend import Stream

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"


class Events:
    """An answer's events. ``model`` is the name that was asked for; ``usage``: whether it was asked for.

    ``metadata``: the first has it.
    """

    def __init__(self, stream: Stream, model: str, *, usage: bool, metadata: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        self._model = model
        self._usage = usage
        self._metadata = metadata
        self._done = False

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> bytes:
        if self._done:
            raise StopAsyncIteration
        while True:
            try:
                chunk = dict(await self._stream.__anext__())
            except StopAsyncIteration:
                self._done = True
                return DONE
            chunk["model"] = self._model
            if not self._usage and chunk.pop("usage", None) is not None and not chunk.get("choices"):
                # It says nothing but what the answer took, which only the gateway has asked for.
                continue
            if self._metadata:
                chunk["metadata"] = {**(chunk.get("metadata") or {}), **self._metadata}
                self._metadata = None
            return _event(chunk)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def failed(self, error: ServeError) -> bytes:
        return _event(error_body(error))


def _event(document: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % encode_json(document)
