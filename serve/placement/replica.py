"""A model in a deployment of its own: its own processes, resources and autoscaling, called by a Serve handle."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from grpc.aio import AioRpcError  # type: ignore[import-untyped]
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serve import loopback
from serve.context import RequestContext
from serve.gateway.errors import NotReady, Overloaded, RequestTimeout
from serve.handles import handle_of
from serve.hub import SharedHub
from serve.placement.base import Inputs, Outputs, Watch, unwatched
from serve.placement.busy import BusyTime
from serve.placement.coalesce import Coalescer
from serve.releases.follower import Follower
from serve.releases.verify import fetch
from serve.releases.wishes import Wish
from serve.runtimes import RUNTIMES
from serve.runtimes.base import ModelMetadata, Runtime, RuntimeFailure
from serve.settings import ModelSettings, Settings
from training.registry import ModelVersion, Registry

ATTEMPTS = 3
"""How often a call is made whose replica dies under it. A run changes nothing, so it may be repeated."""

PAUSE_SECONDS = 0.1

logger = logging.getLogger("ray.serve")


@dataclass(slots=True)
class _Held:
    runtime: Runtime
    running: int = 0


class ModelReplica:
    """The deployment's class: one process that runs versions of one model; more than one while they change."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, name: str, settings: Settings, version: ModelVersion, registry: str, hub: str
    ) -> None:
        if settings.http.on_loopback:
            loopback.bind_replica()
        self._name = name
        self._settings = settings.models[name]
        self._cache = settings.registry.cache_folder
        self._registry = registry
        self._threads = ThreadPoolExecutor(self._settings.calls, thread_name_prefix="infer")
        self._busy = BusyTime(self._settings.calls)
        self._held: dict[str, _Held] = {}
        follower = Follower({(name, "host"): self._follow}, SharedHub(hub, uuid.uuid4().hex).tell)
        self._changing = asyncio.Lock()
        self._wished = False
        await follower.during(asyncio.sleep(0))
        await follower.during(self._load_bound(version))
        self._task = asyncio.get_running_loop().create_task(follower.run())

    def describe(self, version: str) -> ModelMetadata:
        """What a version takes and gives. Raises: NotReady."""
        return self._require(version).runtime.metadata

    async def predict(self, version: str, inputs: Inputs, outputs: Sequence[str], seconds: float) -> Outputs:
        """Run a batch that somebody waits for as long as ``seconds``.

        Raises:
            NotReady: this replica does not hold that version.
            RequestTimeout: the time passed before a thread was free.
            RuntimeFailure: the runtime failed.
        """
        held = self._require(version)
        run = functools.partial(self._run, held.runtime, inputs, outputs, time.monotonic() + seconds, seconds)
        held.running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        finally:
            held.running -= 1

    def check_health(self) -> None:
        """Raises: RuntimeError, if it no longer follows what versions are wished for."""
        if self._task.done():
            raise RuntimeError("the replica no longer follows its model's versions")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For ``serve.autoscaling``: the share of time that the model was running."""
        return {"busy": self._busy.share()}

    async def _load_bound(self, version: ModelVersion) -> None:
        async with self._changing:
            if not self._wished:
                await self._load(version)

    async def _follow(self, _model: str, wish: Wish) -> None:
        async with self._changing:
            self._wished = True
            await self._hold(wish)

    async def _hold(self, wish: Wish) -> None:
        for version in wish.hold:
            # Bundles are encoders', which have no replicas of their own.
            await self._load(cast(ModelVersion, version))
        for gone in set(self._held) - {version.version for version in wish.hold}:
            held = self._held.pop(gone)
            while held.running:  # noqa: ASYNC110 - a version goes rarely
                await asyncio.sleep(0.01)
            held.runtime.unload()

    async def _load(self, version: ModelVersion) -> None:
        if version.version in self._held:
            return
        verified = await asyncio.to_thread(fetch, Registry(self._registry), version, self._cache)
        runtime = RUNTIMES[self._settings.runtime]()
        await asyncio.to_thread(runtime.load, verified.model, self._settings.threads)
        self._held[version.version] = _Held(runtime)

    def _require(self, version: str) -> _Held:
        if version not in self._held:
            raise NotReady(f"{self._name} version {version}")
        return self._held[version]

    def _run(
        self, runtime: Runtime, inputs: Inputs, outputs: Sequence[str], deadline: float, seconds: float
    ) -> Outputs:
        if time.monotonic() >= deadline:
            raise RequestTimeout(seconds)
        with self._busy:
            return runtime.predict(inputs, outputs)


def model_deployment(name: str) -> str:
    """The name of the deployment of a model that has its own."""
    return f"model-{name}"


class Remote:
    """One version in a :class:`ModelReplica` deployment, as an ingress replica's data plane calls it."""

    def __init__(self, metadata: ModelMetadata, coalescer: Coalescer) -> None:
        self._metadata = metadata
        self._coalescer = coalescer

    @classmethod
    async def connect(cls, name: str, version: str, settings: ModelSettings, watch: Watch = unwatched) -> Remote:
        """Wait for the deployment's first replica."""
        handle = handle_of(model_deployment(name))
        metadata = await handle.describe.remote(version)
        calls = settings.calls * settings.most_replicas
        coalescer = Coalescer(
            functools.partial(_call, name, version, handle),
            batch_rows=settings.batch_rows,
            calls=calls,
            queue=settings.queue,
            watch=watch,
        )
        return cls(metadata, coalescer)

    @property
    def metadata(self) -> ModelMetadata:
        return self._metadata

    @property
    def waiting(self) -> int:
        return self._coalescer.waiting

    async def predict(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        return await self._coalescer.predict(inputs, rows, outputs, context)

    async def close(self) -> None:
        await self._coalescer.drain()


async def _call(
    name: str, version: str, handle: Any, inputs: Inputs, outputs: Sequence[str], deadline: float
) -> Outputs:
    for attempt in range(1, ATTEMPTS + 1):
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(None if left == math.inf else left):
                found: Outputs = await handle.predict.remote(version, dict(inputs), list(outputs), left)
                return found
        except (RuntimeFailure, RequestTimeout, NotReady):
            raise
        except TimeoutError as error:
            raise RequestTimeout(max(left, 0.0)) from error
        except BackPressureError as error:
            raise Overloaded(error.args[0], "calls") from error
        except RayTaskError as error:
            raise RuntimeFailure(str(error)) from error
        except AioRpcError as error:
            # Of a replica's failure that could not be passed on as it was.
            raise RuntimeFailure(error.details() or str(error)) from error
        except (RayActorError, RayError, DeploymentUnavailableError) as error:
            logger.warning("model %s: attempt %d of %d: %r", name, attempt, ATTEMPTS, error)
            if attempt == ATTEMPTS:
                raise NotReady(name) from error
            await asyncio.sleep(min(PAUSE_SECONDS * attempt, max(left, 0.0)))
    raise NotReady(name)
