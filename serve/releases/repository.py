"""Loading and unloading a model while the ingress runs.

Errors::

    serve.gateway.errors
    └── ModelFailed     the version can't be had, verified or loaded everywhere; what answered goes on
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from console import UserError
from serve.gateway.errors import ModelFailed
from serve.releases.wishes import Outcome, Role, Version, Wish

PAUSE_SECONDS = 0.05

logger = logging.getLogger("ray.serve")

Resolve = Callable[[str], Awaitable[Version]]
"""The version that a model's alias names now."""


class Repository(Protocol):
    """What the data plane asks for."""

    async def load(self, name: str) -> None:
        """Have every replica answer from the version that the model's alias names. Raises: ModelFailed."""

    async def unload(self, name: str) -> None:
        """Have no replica answer from the model."""


class Asked(Protocol):
    """The wishes, as a replica reaches them; see ``serve.hub``."""

    async def wish(self, model: str, hold: Iterable[Version], use: Version | None) -> Wish: ...
    async def outcome(self, wish: Wish, model: str, role: Role) -> Outcome: ...


class SharedRepository:
    """All replicas together. ``current`` is what this replica answers from now, if anything.

    Cancelled half way (its client's time passed) it leaves the model where the last step brought it,
    and loading again goes on from there.
    """

    def __init__(self, wishes: Asked, resolve: Resolve, current: Callable[[str], Version | None]) -> None:
        self._wishes = wishes
        self._resolve = resolve
        self._current = current
        self._lock = asyncio.Lock()

    async def load(self, name: str) -> None:
        async with self._lock:
            before = self._current(name)
            try:
                wanted = await self._resolve(name)
            except UserError as error:
                raise _failed(name, str(error)) from error
            both = (before, wanted) if before is not None and before != wanted else (wanted,)
            wish = await self._wishes.wish(name, both, before)
            if problems := await self._followed(wish, name, "host"):
                await self._wishes.wish(name, _alone(before), before)
                raise _failed(name, problems[0])
            wish = await self._wishes.wish(name, both, wanted)
            if problems := await self._followed(wish, name, "front"):
                # Some answer from it and some can't: all go back, so that no two answer differently.
                wish = await self._wishes.wish(name, both, before)
                await self._followed(wish, name, "front")
                await self._wishes.wish(name, _alone(before), before)
                raise _failed(name, problems[0])
            await self._wishes.wish(name, (wanted,), wanted)

    async def unload(self, name: str) -> None:
        async with self._lock:
            before = self._current(name)
            wish = await self._wishes.wish(name, _alone(before), None)
            await self._followed(wish, name, "front")
            wish = await self._wishes.wish(name, (), None)
            await self._followed(wish, name, "host")

    async def _followed(self, wish: Wish, name: str, role: Role) -> tuple[str, ...]:
        """Wait until all replicas of a role have followed, or one has said why it can't."""
        while True:
            outcome = await self._wishes.outcome(wish, name, role)
            if outcome.problems or not outcome.pending:
                return outcome.problems
            await asyncio.sleep(PAUSE_SECONDS)


def _alone(version: Version | None) -> tuple[Version, ...]:
    return () if version is None else (version,)


def _failed(name: str, problem: str) -> ModelFailed:
    logger.error("model %s can't be loaded: %s", name, problem)
    return ModelFailed(name)
