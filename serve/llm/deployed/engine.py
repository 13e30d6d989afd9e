"""What an engine is to the replica that it runs in, and what a kind of engine says of itself before one is started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from console import UserError
from serve.llm.backend import Body, Operation, Tokens
from serve.llm.deployed.messages import Refused, Whole


class AdapterRefused(Exception):
    """An engine can't load an adapter, or has none of this name."""


class EngineSettingsError(UserError):
    """A backend's settings can't be what its engine runs. Raw: ``(backend, what)``."""

    def __init__(self, backend: str, what: str) -> None:
        super().__init__(backend, what)

    def __str__(self) -> str:
        return f"backend {self.args[0]}: {self.args[1]}"


@dataclass
class Tally:
    """The tokens of one call, as the engine puts them out. A call may have several prompts, each with an id.

    ``unfinished``: reads those of a prompt whose tokens are put out at its end alone. ``version``: what answers, where
    it is a version of the registry.
    """

    inputs: dict[str, int] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    output: int = 0
    unfinished: dict[str, Callable[[], Tokens]] = field(default_factory=dict)
    version: str = ""

    @property
    def tokens(self) -> Tokens:
        told = Tokens(sum(self.inputs.values()), self.output, sum(self.cached.values()))
        return sum((read() for read in self.unfinished.values()), told)


class Engine(Protocol):
    """A loaded model, on the event loop that it was started on."""

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        """A document, an error, or a stream of JSON texts, in which an error may come too, as the last.

        ``body`` is OpenAI's JSON; ``tally`` is kept as tokens come. To cancel the task that awaits or iterates is what
        aborts the request in the engine. The body's mistakes and the engine's failures are ``Refused``.
        """
        ...

    def running(self) -> int:
        """Requests that the engine has not ended."""
        ...

    async def check_health(self) -> None:
        """Raises: Exception: it can answer no more, and the replica is to be replaced."""
        ...

    def shutdown(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """The replicas of one backend. It passes between processes.

    ``environment``: variables of the replica's process, set before ``start``, which is where the engine's library is
    imported. ``calls``: that a replica takes at once. ``resources``: Serve's options that say what a replica needs.
    """

    environment: Mapping[str, str]
    calls: int
    resources: Mapping[str, Any]
    start: Callable[[], Awaitable[Engine]]
