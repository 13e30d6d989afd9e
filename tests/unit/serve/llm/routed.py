"""Backends, a ledger and a router of them, which do as they are told."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serve.caller import Caller
from serve.context import RequestContext
from serve.gateway.errors import BudgetReached, ServeError
from serve.llm.backend import Completed, Stream, Tokens, Work
from serve.llm.prompts.lookup import Prompts
from serve.llm.router import Priced, Router
from serve.llm.settings import LanguageModel, PromptSettings, Route
from serve.llm.use import Use
from training.prompts import Address, PromptVersion
from training.registry import VersionNotFound

CALLER = Caller("k1", "reports", models=("small", "large"))
DOCUMENT = {"object": "chat.completion"}


class Chunks:
    """A stream of three chunks, or of one and an error."""

    def __init__(self, error: ServeError | None) -> None:
        self._left = 1 if error else 3
        self._error = error
        self.tokens = Tokens()
        self.version: str | None = None
        self.closed = 0

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        if not self._left:
            if self._error:
                raise self._error
            raise StopAsyncIteration
        self._left -= 1
        self.tokens = Tokens(5, self.tokens.output + 1)
        return {"n": self.tokens.output}

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class Fake:
    """A backend that answers, or fails as it is told."""

    name: str
    error: Exception | None = None
    mid: ServeError | None = None
    able: bool = True
    version: str | None = None
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    streams: list[Chunks] = field(default_factory=list)

    async def ready(self) -> bool:
        return self.able

    async def run(self, operation: str, body: Mapping[str, Any], work: Work | None = None) -> Completed | Stream:
        self.asked.append(body)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if body.get("stream"):
            self.streams.append(Chunks(self.mid))
            self.streams[-1].version = self.version
            return self.streams[-1]
        return Completed(DOCUMENT, Tokens(3, 2), self.version)

    async def close(self) -> None:
        self.able = False


class ByTokens:
    most_seconds = math.inf

    def most(self, operation: str, body: Mapping[str, Any]) -> float:
        return 1.0

    def begin(self) -> ByTokens:
        return self

    def dollars(self, tokens: Tokens) -> float:
        return tokens.input * 0.1 + tokens.output


@dataclass
class Book:
    """A ledger that may refuse one backend's requests after another, at once or when it has heard of others, or
    more than was reserved."""

    refusals: int = 0
    uses: list[Use] = field(default_factory=list)
    reserved: list[tuple[str, str, float]] = field(default_factory=list)
    extended: list[float] = field(default_factory=list)
    refuses_more: bool = False
    unconfirmed: int = 0

    def reserve(
        self,
        key: str,
        model: str,
        most_dollars: float,
        request_id: str = "",
        prompt: str = "",
        prompt_version: str = "",
    ) -> Book:
        if self.refusals:
            self.refusals -= 1
            raise BudgetReached("key reports", "$1 a day", "tomorrow")
        self.reserved.append((key, model, most_dollars))
        return self

    async def confirm(self) -> None:
        if self.unconfirmed:
            self.unconfirmed -= 1
            raise BudgetReached("key reports", "$1 a day", "tomorrow")

    def extend(self, dollars: float, *, anyway: bool = False) -> None:
        if self.refuses_more and not anyway:
            raise BudgetReached("key reports", "$1 a day", "tomorrow")
        self.extended.append(dollars)

    def settle(self, use: Use) -> None:
        self.uses.append(use)


def find(address: Address) -> PromptVersion:
    if address.name != "greeting":
        raise VersionNotFound(f"no prompt {address}")
    return PromptVersion("greeting", "3", "Greet {{name}}.", "", datetime.now(UTC))


def router(*backends: Fake, routes: Sequence[Route] | None = None, book: Book | None = None, seed: int = 1) -> Router:
    found = routes or [Route(backend=each.name, priority=at) for at, each in enumerate(backends)]
    models = {"small": LanguageModel(routes=tuple(found)), "other": LanguageModel(routes=tuple(found))}
    priced = {each.name: Priced(each, ByTokens()) for each in backends}
    prompts = Prompts(find, PromptSettings())
    return Router(models, priced, book or Book(), prompts, chance=random.Random(seed))


def run(made: Router, context: RequestContext | None = None, **body: Any) -> Completed | Stream:
    given = {"model": "small", "messages": [], **body}
    return asyncio.run(made.run("chat", given, context or RequestContext(CALLER), "r1"))
