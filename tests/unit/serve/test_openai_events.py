"""A backend's chunks as events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from serve.gateway.openai.events import Events
from serve.llm.backend import Tokens


class Said:
    """A stream that says these chunks."""

    tokens = Tokens()
    version = None

    def __init__(self, *chunks: dict[str, Any]) -> None:
        self._chunks: Iterator[dict[str, Any]] = iter(chunks)

    def __aiter__(self) -> Said:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        pass


async def _events(*chunks: dict[str, Any], metadata: Mapping[str, str]) -> list[Any]:
    events = Events(Said(*chunks), "small", usage=False, metadata=metadata)
    return [json.loads(event.removeprefix(b"data: ")) async for event in events if b"[DONE]" not in event]


def test_the_first_chunk_names_the_prompt_beside_what_its_backend_says() -> None:
    chunks = [{"choices": [], "metadata": {"tier": "flex"}}, {"choices": []}]
    first, second = asyncio.run(_events(*chunks, metadata={"prompt": "greeting", "prompt_version": "2"}))
    assert first["metadata"] == {"tier": "flex", "prompt": "greeting", "prompt_version": "2"}
    assert "metadata" not in second
