"""What the data plane knows of a request beside its inputs: who asks, until when, and whether they still wait."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from serve.caller import ANYBODY, Caller
from serve.gateway.errors import ClientGone, Forbidden, RequestTimeout


class Ticket(Protocol):
    """What a request holds of the limits that it counts against; see ``serve.limits``."""

    @property
    def body_limit(self) -> int | None:
        """The most bytes its body may have."""

    def model(self, name: str) -> None:
        """Count it against this model's limits too. Raises: RateLimited."""

    def rows(self, count: int) -> None:
        """Take rows. Raises: RateLimited, InputRejected."""

    def leave(self) -> None:
        """Give back what it holds; once is enough."""

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What is left, as response headers."""


def _never() -> bool:
    return False


class RequestContext:
    """One request. ``deadline`` is in seconds of ``time.monotonic``.

    ``request_id``: what the client knows it by. ``model``, ``version`` and ``rows`` are what became of it, for the
    metrics and the log; ``prompt`` and ``prompt_version`` say which prompt of the registry it was filled from, empty
    where from none.
    """

    __slots__ = (
        *("caller", "deadline", "disconnected", "model", "prompt"),
        *("prompt_version", "request_id", "rows", "seconds", "ticket", "version"),
    )

    def __init__(
        self,
        caller: Caller = ANYBODY,
        ticket: Ticket | None = None,
        seconds: float = math.inf,
        disconnected: Callable[[], bool] = _never,
    ) -> None:
        self.caller = caller
        self.ticket = ticket
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.disconnected = disconnected
        self.model: str | None = None
        self.version: str | None = None
        self.prompt = ""
        self.prompt_version = ""
        self.rows = 0
        self.request_id = ""

    def shorten(self, seconds: float) -> None:
        """The client waits no longer than this, from now on."""
        if (deadline := time.monotonic() + seconds) < self.deadline:
            self.deadline = deadline
            self.seconds = seconds

    def may_use(self, model: str) -> None:
        """Raises: Forbidden."""
        if not self.caller.may_use(model):
            raise Forbidden(str(self.caller), f"use model {model}")

    def may_administer(self) -> None:
        """Raises: Forbidden."""
        if not self.caller.admin:
            raise Forbidden(str(self.caller), "load and unload models")

    def abandoned(self) -> ClientGone | RequestTimeout | None:
        """Why nobody waits for the answer any more, if so. Asked before work begins, so that it is not done."""
        if self.disconnected():
            return ClientGone()
        if time.monotonic() >= self.deadline:
            return RequestTimeout(self.seconds)
        return None
