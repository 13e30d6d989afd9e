"""A replica's side of the wishes: ask, follow, tell."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from serve.releases.wishes import Progress, Role, Wish

INTERVAL_SECONDS = 0.25
AGAIN_SECONDS = 2.0
"""When a wish that could not be followed is tried again: a registry, or another replica, may be there by then."""

logger = logging.getLogger("ray.serve")

Tell = Callable[[Iterable[tuple[str, Role]], Iterable[Progress]], Awaitable[Mapping[str, Wish]]]
"""See ``Wishes.tell``, with the replica's own name."""


Follows = Callable[[str, Wish], Awaitable[None]]
"""What follows a model's wish in one role. It raises whatever keeps the wish from being followed."""


class Follower:
    """``roles``: what to do for each model in each role.

    Telling goes on while something is followed: a replica that takes long to load a version is waited
    for, and not taken for one that is gone.
    """

    def __init__(self, roles: Mapping[tuple[str, Role], Follows], tell: Tell) -> None:
        self._roles = roles
        self._tell = tell
        self._progress: dict[tuple[str, Role], Progress] = {}
        self._running: dict[tuple[str, Role], asyncio.Task[None]] = {}
        self._failed_at: dict[tuple[str, Role], float] = {}

    async def tick(self) -> bool:
        """Tell, and begin to follow what was wished since. Whether something is being followed now."""
        wishes = await self._tell(self._roles.keys(), list(self._progress.values()))
        for key in self._roles:
            wish = wishes.get(key[0])
            done = self._progress.get(key)
            if wish is not None and key not in self._running and (done is None or done.wish != wish or self._due(key)):
                self._running[key] = asyncio.get_running_loop().create_task(self._follow(key, wish))
        return bool(self._running)

    def _due(self, key: tuple[str, Role]) -> bool:
        failed_at = self._failed_at.get(key)
        return failed_at is not None and time.monotonic() - failed_at >= AGAIN_SECONDS

    async def during(self, work: Coroutine[Any, Any, None], interval: float = INTERVAL_SECONDS) -> None:
        """Do ``work`` and follow whatever is wished until then; telling goes on."""
        task = asyncio.get_running_loop().create_task(work)
        while True:
            following = await self.tick()
            if task.done() and not following:
                break
            await asyncio.wait({task, *self._running.values()}, timeout=interval)
        await task

    async def run(self, interval: float = INTERVAL_SECONDS) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self.tick()
            except Exception:
                logger.exception("the wishes can't be asked for; what is loaded goes on")
            await asyncio.sleep(interval)

    async def _follow(self, key: tuple[str, Role], wish: Wish) -> None:
        model, role = key
        problem: str | None = None
        self._failed_at.pop(key, None)
        try:
            await self._roles[key](model, wish)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            self._failed_at[key] = time.monotonic()
            before = self._progress.get(key)
            if before is None or (before.wish, before.problem) != (wish, problem):
                logger.exception("model %s: the wish %d can't be followed", model, wish.number)
        self._progress[key] = Progress(model, role, wish, problem)
        del self._running[key]
