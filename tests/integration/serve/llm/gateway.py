"""OpenAI's own client, of a gateway that asks one backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from openai import OpenAI

from serve.context import RequestContext
from serve.llm.backend import Backend, Completed, Operation, Stream
from tests.integration.serve.llm.vllm_on_ray import Run
from tests.unit.serve.language import house, listening, until


@contextmanager
def before(backend: Backend, run: Run, log: Path) -> Iterator[OpenAI]:
    """``run``: of the loop that the backend is called on elsewhere."""
    made = house(log, seconds=120)

    async def through(
        operation: Operation, body: Mapping[str, Any], context: RequestContext, request_id: str
    ) -> Completed | Stream:
        context.model = context.version = backend.name
        return await backend.run(operation, body)

    made.plane.run = through  # type: ignore[method-assign]

    def start(server: uvicorn.Server) -> Callable[[], None]:
        # Serve gives the same handle to all, and it belongs to the first one's loop.
        async def begin() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(server.serve())

        serving = run(begin())
        return lambda: until(serving.done)

    with listening(made, start=start):
        yield made.client()
