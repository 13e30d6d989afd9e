"""A model of Bedrock's as a backend: tried again where it may help, and then in the next region."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

from serve.gateway.errors import BackendError, ServeError
from serve.llm.backend import Body, Completed, Operation, Stream, Tokens
from serve.llm.bedrock import embeddings, reply, request
from serve.llm.bedrock.connection import Connection, Events
from serve.llm.bedrock.errors import Again, Failure, NotReached
from serve.llm.bedrock.reply import Chunks
from serve.llm.ledger.cost import guessed_input
from serve.llm.settings import Bedrock

FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 8.0
READY_SECONDS = 3.0
"""For credentials that must be looked for."""

Answer = TypeVar("Answer")


class BedrockBackend:
    """Keeps to :class:`serve.llm.backend.Backend`."""

    def __init__(self, name: str, settings: Bedrock) -> None:
        self._name = name
        self._settings = settings
        self._connection = Connection(settings)

    @property
    def name(self) -> str:
        return self._name

    async def ready(self) -> bool:
        """Whether there are credentials. Asking Bedrock itself would cost tokens."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._connection.authorized()
        except (ServeError, TimeoutError):
            return False
        return True

    async def run(self, operation: Operation, body: Body) -> Completed | Stream:
        if operation == "embeddings":
            return await embeddings.run(body, self._settings.model, self._invoked)
        if operation != "chat":
            raise BackendError(400, "unsupported_operation", "this model answers chat completions alone", "model")
        asked = request.chat(body, self._settings.guardrail)
        # A client's name for it, and not the profile or the account's number that may be in ours.
        model = str(body.get("model") or self._name)
        if body.get("stream"):

            async def begun(region: str) -> Answering:
                return await self._begun(region, asked, Chunks(model, functools.partial(guessed_input, body)))

            return await self._anywhere(begun)

        async def whole(region: str) -> Completed:
            document, _ = await self._connection.whole(region, "converse", asked, self._settings.answer_seconds)
            return reply.completed(document, model)

        return await self._anywhere(whole)

    async def close(self) -> None:
        await self._connection.close()

    async def _begun(self, region: str, asked: Mapping[str, Any], chunks: Chunks) -> Answering:
        seconds = self._settings.first_token_seconds
        try:
            async with asyncio.timeout(seconds):
                events = await self._connection.stream(region, "converse-stream", asked)
                answering = Answering(events, chunks, self._settings.between_tokens_seconds)
                try:
                    await answering.begin()
                except BaseException:
                    await answering.aclose()
                    raise
                return answering
        except TimeoutError:
            raise Failure(NotReached(region, f"no token in {seconds:g} s"), Again.ELSEWHERE) from None

    async def _invoked(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
        async def invoked(region: str) -> tuple[dict[str, Any], Mapping[str, str]]:
            return await self._connection.whole(region, "invoke", asked, self._settings.answer_seconds)

        return await self._anywhere(invoked)

    async def _anywhere(self, attempt: Callable[[str], Awaitable[Answer]]) -> Answer:
        """The first answer; else what the last region said."""
        regions = self._settings.regions
        for place, region in enumerate(regions):
            try:
                return await self._in(region, attempt)
            except Failure as failure:
                if failure.again is Again.NOWHERE or place == len(regions) - 1:
                    raise failure.error from failure
        raise AssertionError(regions)

    async def _in(self, region: str, attempt: Callable[[str], Awaitable[Answer]]) -> Answer:
        for number in range(self._settings.retries):
            try:
                return await attempt(region)
            except Failure as failure:
                if failure.again is not Again.HERE:
                    raise
            # Full jitter: callers that were refused together do not come back together.
            await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**number)))  # noqa: S311
        return await attempt(region)


class Answering:
    """A stream that has begun. Keeps to :class:`serve.llm.backend.Stream`."""

    version: str | None = None

    def __init__(self, events: Events, chunks: Chunks, between_seconds: float) -> None:
        self._events = events
        self._chunks = chunks
        self._between_seconds = between_seconds
        self._ready: deque[Mapping[str, Any]] = deque()
        self._over = False

    @property
    def tokens(self) -> Tokens:
        return self._chunks.tokens

    async def begin(self) -> None:
        """Wait for the first token. Raises: Failure, ServeError."""
        while not self._chunks.has_content and not self._over:
            await self._more()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        try:
            while not self._ready:
                if self._over:
                    raise StopAsyncIteration
                try:
                    async with asyncio.timeout(self._between_seconds):
                        await self._more()
                except TimeoutError:
                    seconds = self._between_seconds
                    raise BackendError(504, "server_error", f"Bedrock's stream stood still for {seconds:g} s") from None
        except Failure as failure:
            await self.aclose()
            raise failure.error from failure
        except BaseException:
            await self.aclose()
            raise
        return self._ready.popleft()

    async def aclose(self) -> None:
        self._over = True
        self._ready.clear()
        await self._events.aclose()

    async def _more(self) -> None:
        events = await self._events.more()
        if events is None:
            self._ready.extend(self._chunks.end())
            self._over = True
            return
        for event in events:
            self._ready.extend(self._chunks.of(event))
