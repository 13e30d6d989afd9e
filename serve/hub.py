"""The one place where the replicas of a Serve application meet: shared limits, wishes for versions, and how many
ingress replicas there are.

A named Ray actor, made by whoever needs it first and made again by the next one if its owner dies; an
ingress of one replica keeps its own. No request waits for it: replicas exchange with it a few times a
second.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from serve.limits.coordinator import Coordinator
from serve.limits.messages import Reply, Report
from serve.releases.wishes import Outcome, Progress, Role, Version, Wish, Wishes

NAMESPACE = "serve"
ATTEMPTS = 3
PAUSE_SECONDS = 0.1
"""Between them: until the name of one that is gone is free again."""

PRESENT_SECONDS = 1.0
ABSENT_SECONDS = 5.0
"""How often an ingress replica says that it is there, and how long it is believed."""


class Hub:
    """The actor's class."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = Coordinator()
        self._wishes = Wishes()
        self._clock = clock
        self._present: dict[str, float] = {}

    def exchange(self, member: str, report: Report) -> Reply:
        return self._limits.exchange(member, report)

    def present(self, member: str) -> int:
        now = self._clock()
        self._present[member] = now
        self._present = {name: heard for name, heard in self._present.items() if now - heard <= ABSENT_SECONDS}
        return len(self._present)

    def wish(self, model: str, hold: tuple[Version, ...], use: Version | None) -> Wish:
        return self._wishes.wish(model, hold, use)

    def tell(
        self, member: str, roles: tuple[tuple[str, Role], ...], progress: tuple[Progress, ...]
    ) -> Mapping[str, Wish]:
        return self._wishes.tell(member, roles, progress)

    def outcome(self, wish: Wish, model: str, role: Role) -> Outcome:
        return self._wishes.outcome(wish, model, role)


class HubClient(Protocol):
    """A replica's way to the hub."""

    async def exchange(self, report: Report) -> Reply: ...
    async def present(self) -> int: ...
    async def wish(self, model: str, hold: Iterable[Version], use: Version | None) -> Wish: ...
    async def tell(self, roles: Iterable[tuple[str, Role]], progress: Iterable[Progress]) -> Mapping[str, Wish]: ...
    async def outcome(self, wish: Wish, model: str, role: Role) -> Outcome: ...


class _Client(ABC):
    """``member`` is another name for each process that ever starts."""

    def __init__(self, member: str) -> None:
        self._member = member

    async def exchange(self, report: Report) -> Reply:
        found: Reply = await self._call("exchange", self._member, report)
        return found

    async def present(self) -> int:
        """This ingress replica is there; how many are, with it."""
        found: int = await self._call("present", self._member)
        return found

    async def wish(self, model: str, hold: Iterable[Version], use: Version | None) -> Wish:
        found: Wish = await self._call("wish", model, tuple(hold), use)
        return found

    async def tell(self, roles: Iterable[tuple[str, Role]], progress: Iterable[Progress]) -> Mapping[str, Wish]:
        found: Mapping[str, Wish] = await self._call("tell", self._member, tuple(roles), tuple(progress))
        return found

    async def outcome(self, wish: Wish, model: str, role: Role) -> Outcome:
        found: Outcome = await self._call("outcome", wish, model, role)
        return found

    @abstractmethod
    async def _call(self, method: str, *arguments: object) -> Any: ...


class OwnHub(_Client):
    """A hub in this process, for an ingress of one replica."""

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self._hub = Hub()

    async def _call(self, method: str, *arguments: object) -> Any:
        return getattr(self._hub, method)(*arguments)


class SharedHub(_Client):
    """The actor of this name."""

    def __init__(self, name: str, member: str) -> None:
        super().__init__(member)
        self._name = name
        self._actor: Any = None

    async def _call(self, method: str, *arguments: object) -> Any:
        import ray
        from ray.exceptions import RayActorError

        left = ATTEMPTS
        while True:
            if self._actor is None:
                options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "get_if_exists": True}
                self._actor = ray.remote(Hub).options(name=self._name, namespace=NAMESPACE, **options).remote()
            try:
                return await getattr(self._actor, method).remote(*arguments)
            except RayActorError:
                # Its owner is gone, and it with it: the next call makes a new one, which learns from the replicas.
                self._actor = None
                left -= 1
                if not left:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
