"""What a place where a language model runs is to the gateway.

Requests and answers are OpenAI's JSON, as dictionaries, whose schema is each backend's own. A request's ``model``
is already the backend's name; a stream's request asks for its usage always.
https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Operation = Literal["chat", "completions", "embeddings"]

Body = Mapping[str, Any]

MOST_INPUTS = 2048
"""Texts of a request for embeddings, as at OpenAI."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """``input`` has the cached ones in it, as OpenAI counts."""

    input: int = 0
    output: int = 0
    cached: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.input + other.input, self.output + other.output, self.cached + other.cached)


def _with_no_budget() -> None:
    pass


@dataclass(slots=True)
class Work:
    """What a backend does for one call until :meth:`Backend.run` returns, so that a call without an answer counts too.

    ``tokens``: taken until now, kept by the backend; ``None`` where it doesn't count them. ``again``: called before
    what may take as much as the whole call once more; raises ``BudgetReached``.
    """

    tokens: Tokens | None = None
    again: Callable[[], None] = _with_no_budget

    def add(self, tokens: Tokens) -> None:
        self.tokens = (self.tokens or Tokens()) + tokens


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole answer: OpenAI's document, and what it took, with what was tried for it in vain.

    ``version``: of the registry, where the backend knows it.
    """

    document: dict[str, Any]
    tokens: Tokens
    version: str | None = None


class Stream(Protocol):
    """An answer as it comes: an async iterator of OpenAI's chunks, each a dictionary; the usage is in the last.

    ``tokens``: what it took so far, right at any moment, so that an answer whose client went is counted too.
    ``version``: as :class:`Completed` has it.
    """

    @property
    def tokens(self) -> Tokens: ...

    @property
    def version(self) -> str | None: ...

    def __aiter__(self) -> Stream: ...

    async def __anext__(self) -> Mapping[str, Any]:
        """Raises: ServeError, as in :meth:`Backend.run`; StopAsyncIteration at the end."""
        ...

    async def aclose(self) -> None:
        """Stop the work behind it. Once is enough, and after the end it does nothing."""
        ...


class Backend(Protocol):
    """One place. ``price`` of an answer, and its settings, are elsewhere: it only answers."""

    @property
    def name(self) -> str: ...

    async def ready(self) -> bool:
        """Whether it would answer now; quick, and never an exception."""
        ...

    async def run(self, operation: Operation, body: Body, work: Work | None = None) -> Completed | Stream:
        """Answer; a stream where ``body`` asks for one. Returns after the first chunk is there, or the whole.

        A cancellation stops the work. ``work`` is kept right at any moment until then.

        Raises:
            ServeError: ``serve.gateway.errors.BackendError`` for what the model's server says, with OpenAI's own
                code; ``Unavailable`` where it can't be reached or has no room.
        """
        ...

    async def close(self) -> None: ...
