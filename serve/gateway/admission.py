"""Who may come in: known, within its limits, and only as many at once as the replica can bear.

The same for every protocol, HTTP or gRPC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serve.caller import ANYBODY, Caller
from serve.context import RequestContext, Ticket
from serve.gateway.errors import MalformedRequest, Overloaded

TIMEOUT_HEADER = b"x-request-timeout-seconds"
"""How long the client waits, in seconds: Ray Serve's own header."""


class Authenticator(Protocol):
    """See ``serve.access``."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:
        """The caller, if that can be said at once. Raises: Unauthenticated."""

    async def authenticate(self, authorization: bytes | None) -> Caller:
        """The caller, where somebody has to be asked. Raises: Unauthenticated, Unavailable."""


class Limiter(Protocol):
    """See ``serve.limits``."""

    def enter(self, caller: Caller, model: str | None, now: float) -> Ticket:
        """Raises: RateLimited."""


class Everybody:
    """No keys: whoever reaches the port."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:  # noqa: ARG002
        return ANYBODY

    async def authenticate(self, authorization: bytes | None) -> Caller:  # noqa: ARG002
        return ANYBODY


@dataclass(frozen=True, slots=True)
class Bounds:
    """``in_flight``: requests that one replica holds at once; ``timeout_seconds``: from a request's first
    byte to its answer, at most."""

    max_body_bytes: int
    timeout_seconds: float
    in_flight: int = 256


class Admission:
    """One replica's door."""

    def __init__(
        self,
        bounds: Bounds,
        authenticator: Authenticator | None = None,
        limiter: Limiter | None = None,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.bounds = bounds
        self.in_flight = 0
        self._authenticator = authenticator or Everybody()
        self._limiter = limiter
        self._clock = clock

    def require_room(self) -> None:
        """Asked before anything else is done for a request that is counted already. Raises: Overloaded."""
        if self.in_flight > self.bounds.in_flight:
            raise Overloaded(self.bounds.in_flight, "requests")

    async def caller(self, authorization: bytes | None) -> Caller:
        """Who calls. Raises: Unauthenticated, Unavailable."""
        known = self._authenticator.authenticate_now(authorization)
        return known if known is not None else await self._authenticator.authenticate(authorization)

    def enter(self, context: RequestContext, model: str | None) -> None:
        """Let a request in; its ticket is left in the end. Raises: Forbidden, RateLimited."""
        if model is not None:
            context.may_use(model)
        if self._limiter is not None:
            context.ticket = self._limiter.enter(context.caller, model, self._clock())

    def body_limit(self, context: RequestContext) -> int:
        """The most bytes this request's body may have."""
        own = context.ticket.body_limit if context.ticket is not None else None
        return self.bounds.max_body_bytes if own is None else min(own, self.bounds.max_body_bytes)


def timeout_of(header: bytes | None, most: float) -> float:
    """Seconds that a request may take: the client's, where it asks for less than ``most``.

    Raises:
        MalformedRequest: not a number of seconds.
    """
    if header is None:
        return most
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise MalformedRequest(f"{TIMEOUT_HEADER.decode()}: expected seconds above 0, got {header[:60]!r}")
    return min(seconds, most)
