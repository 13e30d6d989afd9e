"""The backend, pointed at the stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from serve.llm.backend import Completed, Operation, Stream
from serve.llm.bedrock.backend import BedrockBackend
from serve.llm.settings import Bedrock
from tests.bedrock import StandIn

MODEL = "eu.anthropic.claude-sonnet-4-6"
REGION = "eu-west-1"

Found = TypeVar("Found")


def settings(stand_in: StandIn, **others: Any) -> Bedrock:
    given = {
        "kind": "bedrock",
        "model": MODEL,
        "regions": [REGION],
        "retries": 0,
        "endpoint": stand_in.url,
        **others,
    }
    return Bedrock.model_validate(given)


def ask(stand_in: StandIn, use: Callable[[BedrockBackend], Awaitable[Found]], **others: Any) -> Found:
    async def asked() -> Found:
        backend = BedrockBackend("claude", settings(stand_in, **others))
        try:
            return await use(backend)
        finally:
            await backend.close()

    return asyncio.run(asked())


def body(text: str = "Hi", **others: Any) -> dict[str, Any]:
    return {"model": "claude", "messages": [{"role": "user", "content": text}], **others}


async def whole(backend: BedrockBackend, given: dict[str, Any], operation: Operation = "chat") -> Completed:
    answer = await backend.run(operation, given)
    assert isinstance(answer, Completed)
    return answer


async def stream(backend: BedrockBackend, given: dict[str, Any] | None = None) -> Stream:
    answer = await backend.run("chat", {**(given or body()), "stream": True})
    assert not isinstance(answer, Completed)
    return answer


async def collected(backend: BedrockBackend, given: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    answer = await stream(backend, given)
    try:
        return [dict(chunk) async for chunk in answer]
    finally:
        await answer.aclose()


def said(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
