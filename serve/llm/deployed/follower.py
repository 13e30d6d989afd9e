"""Follows the aliases of whole models: a version that an alias names anew takes the place of the one before it.

An engine can't take another model. So a second one is started beside the first, in an application of its own
(``serve.llm.deployed.generations``); once it is up new requests go to it, and the first is ended when it has none left.
Where a step fails the first one goes on, and the log says why.

It is one process of the cluster, which Serve starts anew where it dies. What it does it does by what the registry and
Serve's controller say at that moment, and it keeps nothing but what it must not try again at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from ray import serve as ray_serve

from console import UserError
from serve import loopback, replica_log
from serve.llm.deployed.generations import STARTED, Generation, State, digest_of, serving
from serve.llm.deployed.sources import Sources, fetch, label, model_of, renewed
from serve.llm.settings import Deployed
from training.bundle import Bundles, BundleVersion

DEPLOYMENT = "follower"

SETTLE_SECONDS = 10.0
"""How long two are kept that both could answer: each ingress process looks more often where requests are to go."""

MOST_DRAIN_SECONDS = 600.0
"""How long one that is no longer asked may work on at what it has."""

AGAIN_SECONDS = 300.0
"""When what there was no room for, or what could not be fetched, is tried again."""

BEGIN_SECONDS = 0.5

logger = logging.getLogger("ray.serve")


class StartFailed(UserError):
    """No engine of a backend could be started. Raw: ``(backend, why)``."""

    def __init__(self, backend: str, why: str) -> None:
        super().__init__(backend, why)

    def __str__(self) -> str:
        return f"backend {self.args[0]}: {self.args[1]}"


class Runs(Protocol):
    """See :class:`serve.llm.deployed.applications.Applications`."""

    def found(self) -> dict[Generation, State]: ...
    def start(self, generation: Generation, sources: Sources) -> None: ...
    def delete(self, generation: Generation) -> None: ...
    async def running(self, generation: Generation) -> int: ...


@dataclass(frozen=True)
class Followed:
    """A backend whose model is named by an alias. ``sources``: what that named when the service was deployed."""

    name: str
    settings: Deployed
    sources: Sources


class Following:
    """Of one backend. ``deployed``: see :func:`serve.llm.deployed.generations.digest_of`."""

    def __init__(
        self, followed: Followed, runs: Runs, deployed: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = followed.name
        self._settings = followed.settings
        self._sources = followed.sources
        self._bundles = Bundles(followed.sources.uri)
        self._runs = runs
        self._deployed = deployed
        self._clock = clock
        self._said = ""
        self._refused, self._again_at = "", math.inf
        self._were_up: set[Generation] = set()
        self._current: Generation | None = None
        self._current_since = 0.0

    async def begin(self) -> None:
        """Go on until one answers.

        Raises:
            StartFailed: the first one could not be started.
        """
        while not await self.tick():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(BEGIN_SECONDS)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.sleep(self._settings.follow_seconds)
            try:
                await self.tick()
            except Exception as error:  # noqa: BLE001 - whatever it is, what answers goes on
                self._say(error)

    async def tick(self) -> bool:
        """Whether one answers.

        Raises:
            StartFailed: none does, and none will.
        """
        every = await asyncio.to_thread(self._runs.found)
        found = {each: state for each, state in every.items() if not state.going}
        self._were_up &= found.keys()
        self._were_up |= {each for each, state in found.items() if state.status in STARTED}
        current = serving(found)
        if current != self._current:
            self._current, self._current_since = current, self._clock()
        following = max((each.number for each in every), default=0) + 1
        try:
            await self._advance(found, current, following)
        except StartFailed:
            # The first one's, beside which nothing answers.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, what answers goes on
            self._say(error)
        if current is not None:
            await self._retire(found, current)
        return current is not None

    async def _advance(self, found: Mapping[Generation, State], current: Generation | None, number: int) -> None:
        """``number``: of the next generation."""
        if not found:
            try:
                await self._start(number, self._sources)
            except UserError as error:
                raise StartFailed(self._name, str(error)) from error
            return
        version = await asyncio.to_thread(model_of, self._name, self._settings, self._bundles)
        digest = digest_of(self._settings, version, self._deployed)
        if digest != self._refused:
            self._refused = ""
        newest = max(found, key=lambda each: each.number)
        if newest != current:
            if newest.digest == digest:
                await self._watch(newest, found[newest], version, first=current is None)
                return
            # The alias has moved on meanwhile, or back. Where none answers it may be one that is about to again.
            if current is not None:
                await asyncio.to_thread(self._runs.delete, newest)
        if current is not None and current.digest == digest:
            self._said = ""
        elif digest != self._refused or self._clock() >= self._again_at:
            await self._replace(number, version, digest)

    async def _replace(self, number: int, version: BundleVersion, digest: str) -> None:
        # Adapters too: those of the version before it may be of no use to this one.
        sources = await asyncio.to_thread(renewed, self._name, replace(self._sources, model=version))
        try:
            await self._start(number, sources)
        except UserError:
            self._refuse(digest, AGAIN_SECONDS)
            raise

    async def _start(self, number: int, sources: Sources) -> None:
        model = cast("BundleVersion", sources.model)
        generation = Generation(self._name, number, digest_of(self._settings, model, self._deployed))
        # They were verified where the service was deployed from, and this may be another machine.
        await asyncio.to_thread(fetch, sources)
        await asyncio.to_thread(self._runs.start, generation, sources)
        logger.info("backend %s: %s is started as %s", self._name, label(model), generation.application)

    async def _watch(self, starting: Generation, state: State, version: BundleVersion, *, first: bool) -> None:
        """It is started: see to it that it doesn't take for ever, but for the first one, beside which there is none."""
        failed = state.status == "DEPLOY_FAILED"
        # One that was up is Serve's to start anew.
        starts = starting not in self._were_up and not first
        late = starts and time.time() - state.deployed > self._settings.start_seconds
        if not failed and not late:
            return
        why = state.message.strip().rpartition("\n")[2]
        if first:
            raise StartFailed(self._name, f"{label(version)} can't be started: {why}")
        await asyncio.to_thread(self._runs.delete, starting)
        # What failed fails again; room may be there later.
        self._refuse(starting.digest, math.inf if failed else AGAIN_SECONDS)
        self._say(StartFailed(self._name, f"{label(version)} can't be started beside the one that answers: {why}"))

    async def _retire(self, found: Mapping[Generation, State], current: Generation) -> None:
        """End those before the current one that have no requests left."""
        seconds = self._clock() - self._current_since
        if seconds < SETTLE_SECONDS:
            return
        for each in [each for each in found if each.number < current.number]:
            if found[each].answering and seconds < MOST_DRAIN_SECONDS and await self._works(each):
                continue
            logger.info("backend %s: %s is ended", self._name, each.application)
            await asyncio.to_thread(self._runs.delete, each)

    async def _works(self, generation: Generation) -> bool:
        try:
            return await self._runs.running(generation) > 0
        except Exception as error:  # noqa: BLE001 - it is asked again
            logger.warning("backend %s: %s doesn't say what it works on: %r", self._name, generation.application, error)
            return True

    def _refuse(self, digest: str, seconds: float) -> None:
        self._refused, self._again_at = digest, self._clock() + seconds

    def _say(self, error: Exception) -> None:
        """Once, until something else is wrong."""
        said = f"{type(error).__name__}: {error}"
        if said == self._said:
            return
        self._said = said
        if isinstance(error, UserError):
            logger.warning("%s; what answers goes on", error)
        else:
            logger.error("backend %s: what answers goes on", self._name, exc_info=error)


class ModelFollower:
    """The deployment's class. It is up when an engine of each of these backends is."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, followed: tuple[Followed, ...], deployed: str, on_loopback: bool
    ) -> None:
        from serve.llm.deployed.applications import Applications

        if on_loopback:
            loopback.bind_replica()
        replica_log.write_at_once(logging.INFO)
        own = ray_serve.get_replica_context().app_name
        self._runs = [Applications(each.name, each.settings, own, on_loopback=on_loopback) for each in followed]
        following = [Following(each, runs, deployed) for each, runs in zip(followed, self._runs, strict=True)]
        await asyncio.gather(*(each.begin() for each in following))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each.run()) for each in following]

    def check_health(self) -> None:
        """Raises: RuntimeError, if it follows no longer."""
        if any(task.done() for task in self._tasks):
            raise RuntimeError("aliases are no longer followed")

    async def __del__(self) -> None:
        # There are none where it could not start.
        for task in getattr(self, "_tasks", ()):
            task.cancel()
        # Where Serve goes as a whole there may be nobody to ask, and nothing to end.
        with contextlib.suppress(Exception):
            for runs in self._runs:
                await asyncio.to_thread(runs.end_all)


def bind(followed: tuple[Followed, ...], deployed: str, *, on_loopback: bool) -> Any:
    """The application (Serve's ``Application``) that follows them, to be bound into another's."""
    deployment = ray_serve.deployment(name=DEPLOYMENT, num_replicas=1, ray_actor_options={"num_cpus": 0})(ModelFollower)
    return deployment.bind(followed, deployed, on_loopback)
