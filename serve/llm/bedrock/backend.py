"""A model of Bedrock's as a backend."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from serve.gateway.errors import BackendError, ServeError
from serve.llm.backend import Body, Completed, Operation, Stream, Tokens, Work
from serve.llm.bedrock import embeddings, reply, request
from serve.llm.bedrock.attempts import Attempts, Guess
from serve.llm.bedrock.connection import Connection, Events, late
from serve.llm.bedrock.errors import Again, Failure
from serve.llm.bedrock.reply import Chunks
from serve.llm.ledger.cost import guessed, guessed_input
from serve.llm.settings import Bedrock

READY_SECONDS = 3.0
"""For credentials that must be looked for."""


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

    async def run(self, operation: Operation, body: Body, work: Work | None = None) -> Completed | Stream:
        work = work or Work()
        work.tokens = Tokens()
        if operation == "embeddings":
            found = await embeddings.run(body, self._settings.model, functools.partial(self._invoked, work), work)
            return replace(found, tokens=found.tokens + work.tokens)
        if operation != "chat":
            raise BackendError(400, "unsupported_operation", "this model answers chat completions alone", "model")
        asked = request.chat(body, self._settings.guardrail)
        # A client's name for it, and not the profile or the account's number that may be in ours.
        model = str(body.get("model") or self._name)
        named = isinstance(body.get("tool_choice"), Mapping)
        if body.get("stream"):

            async def begun(region: str) -> Answering:
                chunks = Chunks(model, functools.partial(guessed_input, body), named=named)
                return await self._begun(region, asked, chunks)

            answering = await self._attempts(work, lambda _: Tokens(guessed_input(body))).answer(begun)
            answering.before = work.tokens
            return answering

        async def whole(region: str) -> Completed:
            document, _ = await self._connection.whole(region, "converse", asked, self._settings.answer_seconds)
            try:
                return reply.completed(document, model, named=named)
            except BackendError as error:
                raise Failure(error, Again.NOWHERE, read=True, took=reply.told(document)) from error

        completed = await self._attempts(work, lambda seconds: guessed(body, seconds)).answer(whole)
        return replace(completed, tokens=completed.tokens + work.tokens)

    async def close(self) -> None:
        await self._connection.close()

    def _attempts(self, work: Work, guess: Guess) -> Attempts:
        return Attempts(self._settings.regions, self._settings.retries, work, guess)

    async def _begun(self, region: str, asked: Mapping[str, Any], chunks: Chunks) -> Answering:
        seconds = self._settings.first_token_seconds
        try:
            async with asyncio.timeout(seconds):
                events = await self._connection.stream(region, "converse-stream", asked)
                answering = Answering(events, chunks, self._settings.between_tokens_seconds)
                try:
                    await answering.begin()
                except BackendError as error:
                    await answering.aclose()
                    raise Failure(error, Again.NOWHERE, took=chunks.tokens) from error
                except BaseException:
                    await answering.aclose()
                    raise
                return answering
        except TimeoutError:
            raise late(region, f"no token in {seconds:g} s") from None

    async def _invoked(self, work: Work, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
        """One of the calls that a request for embeddings is."""

        async def invoked(region: str) -> tuple[dict[str, Any], Mapping[str, str]]:
            return await self._connection.whole(region, "invoke", asked, self._settings.answer_seconds)

        # Of its own, which asks for no more room: the reservation has a token for each byte, and a guess for each four.
        tried = Work()
        try:
            return await self._attempts(tried, lambda _: embeddings.guessed(asked)).answer(invoked)
        finally:
            work.add(tried.tokens or Tokens())


class Answering:
    """A stream that has begun: see :class:`serve.llm.backend.Stream`. ``before``: what was tried for it in vain."""

    version: str | None = None
    before = Tokens()

    def __init__(self, events: Events, chunks: Chunks, between_seconds: float) -> None:
        self._events = events
        self._chunks = chunks
        self._between_seconds = between_seconds
        self._ready: deque[Mapping[str, Any]] = deque()
        self._over = False

    @property
    def tokens(self) -> Tokens:
        return self.before + self._chunks.tokens

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
