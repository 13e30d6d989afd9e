"""An engine whose model or adapters are versions of the registry: it says which answered, and follows aliases.

An adapter whose alias names another version is fetched, verified and loaded beside the one that answers; then new
requests go to it, and the old one is unloaded when its last request has ended. Where a step fails, the old one goes on;
what the engine refuses is not tried again until the alias has named another version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from serve.llm.backend import Body, Operation
from serve.llm.deployed.engine import AdapterRefused, Engine, Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.deployed.sources import Adapter, Sources, loaded_as, version_of
from serve.releases.bundles import fetch_bundle
from training.bundle import Bundles, BundleVersion

logger = logging.getLogger("ray.serve")


class TakesAdapters(Engine, Protocol):
    """An engine that loads adapters while it runs."""

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Raises: AdapterRefused: it can't be loaded."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Raises: AdapterRefused: there is none of this name."""
        ...


@dataclass(eq=False)
class _Loaded:
    """One version of an adapter in the engine. ``name``: the engine's. ``running``: its requests."""

    name: str
    adapter: Adapter
    running: int = 0


class ReleasedEngine:
    """See :class:`serve.llm.deployed.engine.Engine`. ``name``: of the backend."""

    def __init__(self, name: str, engine: Engine, sources: Sources) -> None:
        self._name = name
        self._engine = engine
        self._sources = sources
        self._bundles = Bundles(sources.uri)
        self._current = {
            name: _Loaded(loaded_as(name, adapter.version), adapter) for name, adapter in sources.adapters.items()
        }
        self._leaving: set[_Loaded] = set()
        self._following: asyncio.Task[None] | None = None
        self._said: dict[str, str] = {}
        self._refused: dict[str, BundleVersion] = {}

    def follow(self, engine: TakesAdapters, seconds: float) -> None:
        """Look every so many seconds which versions the adapters' aliases name, until :meth:`shutdown`."""
        followed = [name for name, adapter in self._sources.adapters.items() if adapter.reference.alias]
        if followed:
            self._following = asyncio.get_running_loop().create_task(self._follow(engine, followed, seconds))

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        model = str(body.get("model"))
        loaded = self._current.get(model)
        if loaded is None:
            base = self._sources.label
            # An adapter in a folder is no version, and what it makes is not the model's alone.
            tally.version = f"{base}+{model}" if base and model != self._name else base
            return await self._engine.answer(operation, body, tally)
        tally.version = loaded.adapter.label
        loaded.running += 1
        streams = False
        try:
            answer = await self._engine.answer(operation, {**body, "model": loaded.name}, tally)
            streams = not isinstance(answer, Whole | Refused)
        finally:
            if not streams:
                loaded.running -= 1
        return answer if isinstance(answer, Whole | Refused) else _counted(answer, loaded)

    def running(self) -> int:
        return self._engine.running()

    async def check_health(self) -> None:
        await self._engine.check_health()

    def shutdown(self) -> None:
        if self._following is not None:
            self._following.cancel()
        self._engine.shutdown()

    async def _follow(self, engine: TakesAdapters, adapters: list[str], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            for adapter in adapters:
                try:
                    await self._renew(engine, adapter)
                except Exception as error:
                    problem = f"{type(error).__name__}: {error}"
                    if self._said.get(adapter) != problem:
                        self._said[adapter] = problem
                        current = self._current[adapter].adapter.label
                        logger.exception("backend %s: adapter %s: %s goes on", self._name, adapter, current)
                else:
                    # So that the next time that it begins is said too.
                    self._said.pop(adapter, None)
            await self._unload(engine)

    async def _renew(self, engine: TakesAdapters, name: str) -> None:
        before = self._current[name]
        reference = before.adapter.reference
        version = await asyncio.to_thread(
            version_of, self._name, self._bundles, reference, "adapter", self._sources.model
        )
        if _same(version, before.adapter.version):
            self._refused.pop(name, None)
            return
        # What the engine did not take once it will not take the next time, and to try costs the others time.
        if (refused := self._refused.get(name)) is not None and _same(version, refused):
            return
        after = next((each for each in self._leaving if each.name == loaded_as(name, version)), None)
        if after is None:
            folder = await asyncio.to_thread(fetch_bundle, self._bundles, version, self._sources.cache)
            after = _Loaded(loaded_as(name, version), replace(before.adapter, version=version))
            try:
                await engine.load_adapter(after.name, folder)
            except AdapterRefused:
                self._refused[name] = version
                raise
        self._leaving.discard(after)
        self._leaving.add(before)
        self._current[name] = after
        self._refused.pop(name, None)
        logger.info("backend %s: adapter %s: %s answers now", self._name, name, after.adapter.label)

    async def _unload(self, engine: TakesAdapters) -> None:
        for loaded in [each for each in self._leaving if not each.running]:
            self._leaving.discard(loaded)
            try:
                await engine.unload_adapter(loaded.name)
            except Exception:
                logger.exception("backend %s: %s can't be unloaded", self._name, loaded.adapter.label)


async def _counted(texts: AsyncIterator[str | Refused], loaded: _Loaded) -> AsyncIterator[str | Refused]:
    try:
        async with aclosing(texts):  # type: ignore[type-var]
            async for text in texts:
                yield text
    finally:
        loaded.running -= 1


def _same(one: BundleVersion, other: BundleVersion) -> bool:
    """Whether two are one version: their aliases may differ."""
    return (one.name, one.version, one.manifest_digest) == (other.name, other.version, other.manifest_digest)
