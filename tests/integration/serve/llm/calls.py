"""Calls of a backend whose model is the small one, and what is asked of any engine behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray import serve as ray_serve

from serve.gateway.errors import BackendError
from serve.llm.backend import Completed, Operation, Tokens, Work
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from tests.integration.serve.llm.wrong_bodies import WRONG

APPLICATION = "language"
NAME = "small"

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]


def running(deployment: str, application: str) -> Callable[[], Awaitable[int]]:
    """The engine's own count of requests."""
    found: list[Any] = []

    async def count() -> int:
        if not found:
            found.append(ray_serve.get_deployment_handle(deployment, application))
        requests: int = await found[0].running.remote()
        return requests

    return count


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": CAPITAL, "max_tokens": 24, "temperature": 0} | fields


def streamed(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"stream": True, "stream_options": {"include_usage": True}}


async def whole(backend: DeployedBackend, body: dict[str, Any], operation: Operation = "chat") -> Completed:
    found = await backend.run(operation, body)
    assert isinstance(found, Completed)
    return found


async def stream(backend: DeployedBackend, body: dict[str, Any], operation: Operation = "chat") -> DeployedStream:
    found = await backend.run(operation, streamed(body))
    assert isinstance(found, DeployedStream)
    return found


async def until_none(running: Callable[[], Awaitable[int]]) -> None:
    """Less than what was asked for would take."""
    async with asyncio.timeout(15):
        while await running():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def text(document: dict[str, Any]) -> str:
    content: str = document["choices"][0]["message"]["content"]
    return content


async def given_up(backend: DeployedBackend, body: dict[str, Any], output: int) -> Tokens:
    """What a whole answer had taken when nobody waited for it any more: some time after so many tokens."""
    work = Work()
    task = asyncio.ensure_future(backend.run("chat", body, work))
    async with asyncio.timeout(240):
        while work.tokens is None or work.tokens.output < output:
            await asyncio.sleep(0.02)
            assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return work.tokens


async def refused(backend: DeployedBackend, wrong: str, *, as_stream: bool) -> None:
    """Ask what is wrong, and hold the error beside what it must be."""
    fields, status, code, param = WRONG[wrong]
    body = chat(**fields)
    with pytest.raises(BackendError) as caught:
        await backend.run("chat", streamed(body) if as_stream else body)
    assert caught.value.status == status
    assert code is None or caught.value.openai_code == code
    assert param is None or caught.value.param == param
    assert 0 < len(str(caught.value)) < 1000
