"""One ingress replica: its models, its door, and what it does beside answering."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from serve.access.authenticator import open_access
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.access_log import AccessLog
from serve.gateway.admission import Admission, Bounds
from serve.gateway.asgi import Gateway
from serve.gateway.errors import NotReady
from serve.gateway.metrics import Meter, RayMetrics, levels
from serve.gateway.transports import transports
from serve.hub import PRESENT_SECONDS, HubClient
from serve.limits.limiter import Limiter
from serve.limits.sharing import Sharing
from serve.llm.deployed.sources import version_of
from serve.llm.language import Language
from serve.llm.plane import LanguagePlane
from serve.placement.inline import Inline
from serve.releases.bundles import fetch_bundle
from serve.releases.follower import Follower, Follows
from serve.releases.repository import SharedRepository
from serve.releases.verify import fetch
from serve.releases.wishes import Role, Version, Wish
from serve.runtimes import RUNTIMES
from serve.settings import Settings
from serve.validation import InputSchema
from training.bundle import Bundles, BundleVersion
from training.registry import Registry

if TYPE_CHECKING:
    from serve.llm.encoders.backend import EncoderBackend

HOUSEKEEPING_SECONDS = 1.0

logger = logging.getLogger("ray.serve")


class IngressReplica:
    """Made by :meth:`start`, in the process that answers."""

    def __init__(self, settings: Settings, registry: str, hub: HubClient) -> None:
        self._settings = settings
        self._registry = registry
        self._hub = hub
        self._encoders = settings.encoders
        released = (*settings.models, *self._encoders)
        self._held: dict[str, dict[str, ServedModel]] = {name: {} for name in released}
        self._using: dict[str, Version | None] = {}
        self._wished: set[str] = set()
        self._changing = {name: asyncio.Lock() for name in released}
        self._authenticator = open_access(settings.access, on_problem=logger.warning)
        self._limiter = Limiter(
            settings.limits.limits(),
            {name: model.limits.limits() for name, model in (settings.models | settings.language_models).items()},
            replicas=settings.ingress.most_replicas,
        )
        folder = settings.access_log.folder
        self.log = AccessLog(Path(folder).resolve() if folder else None, settings.access_log.sample)
        bounds = Bounds(
            settings.http.max_body_bytes, settings.http.request_timeout_seconds, settings.ingress.max_ongoing_requests
        )
        self.meter = Meter()
        self.admission = Admission(bounds, self._authenticator, self._limiter, clock=time.monotonic)
        self.plane = DataPlane([], settings.default_name)
        self.plane.repository = SharedRepository(hub, self._resolve, self._using.get)
        self._language = Language.of(settings, registry) if settings.language_models else None
        self.plane.language = self._language.router if self._language is not None else None
        spoken = transports(settings.http.docs, language=self._language is not None)
        self.gateway = Gateway(self.plane, spoken, self.admission, self.meter, self.log)
        self._tasks: list[asyncio.Task[None]] = []
        self._cpu = self._at = 0.0

    @classmethod
    async def start(
        cls, settings: Settings, versions: Mapping[str, Version], registry: str, hub: HubClient
    ) -> IngressReplica:
        """Verify the models again, load or reach them, and begin housekeeping.

        ``versions`` are those that the application was bound with; where another one was loaded since,
        the hub knows.

        Raises:
            UserError: a model can't be had, verified or loaded.
        """
        replica = cls(settings, registry, hub)
        if replica._language is not None:
            await replica._language.start()
        follower = Follower(replica._roles(), hub.tell)
        # What is wished already comes first; the rest is as the application was bound.
        await follower.during(asyncio.sleep(0))
        await follower.during(replica._use_bound(versions))
        loop = asyncio.get_running_loop()
        replica._tasks = [loop.create_task(replica._keep_house()), loop.create_task(follower.run())]
        if settings.ingress.most_replicas > 1:
            replica._tasks.append(loop.create_task(Sharing(replica._limiter).run(hub.exchange)))
            if replica._language is not None:
                replica._tasks.append(loop.create_task(replica._count_gateways(replica._language)))
        return replica

    def _roles(self) -> dict[tuple[str, Role], Follows]:
        roles: dict[tuple[str, Role], Follows] = {}
        for name, model in self._settings.models.items():
            if model.placement == "inline":
                roles[name, "host"] = self._host
            roles[name, "front"] = self._front
        for name in self._encoders:
            roles[name, "host"] = self._host
            roles[name, "front"] = self._front
        return roles

    async def _use_bound(self, versions: Mapping[str, Version]) -> None:
        for name, version in versions.items():
            async with self._changing[name]:
                if name in self._using:
                    continue
                # Beside the others, which answer from the version that was loaded last, none may answer from this one.
                if name in self._wished:
                    raise NotReady(name)
                await self._use(name, version)

    async def _host(self, name: str, wish: Wish) -> None:
        """Hold the versions of a wish, and no other."""
        async with self._changing[name]:
            await self._hold(name, wish)

    async def _hold(self, name: str, wish: Wish) -> None:
        held = self._held[name]
        for version in wish.hold:
            if version.version not in held:
                held[version.version] = await self._loaded(name, version)
        for gone in set(held) - {version.version for version in wish.hold}:
            await held.pop(gone).place.close()

    async def _front(self, name: str, wish: Wish) -> None:
        """Answer from the version of a wish."""
        async with self._changing[name]:
            await self._answer_from(name, wish)

    async def _answer_from(self, name: str, wish: Wish) -> None:
        self._wished.add(name)
        if wish.use is None:
            self._using[name] = None
            if (backend := self._encoder_backend(name)) is not None:
                backend.encoder = None
            await self.plane.remove(name, "unloaded")
        elif self._using.get(name) != wish.use:
            await self._use(name, wish.use)
        if name in self._settings.models and self._settings.models[name].placement == "replica":
            # The ways to other versions; where the versions themselves live, their host lets them go.
            used = wish.use.version if wish.use is not None else None
            for gone in set(self._held[name]) - {used}:
                await self._held[name].pop(gone).place.close()

    async def _use(self, name: str, version: Version) -> None:
        held = self._held[name]
        if version.version not in held:
            held[version.version] = await self._loaded(name, version)
        self._using[name] = version
        if (backend := self._encoder_backend(name)) is not None:
            from serve.llm.encoders.backend import encoder_of

            # Nothing is waited for between these two: every request is answered by the version that it names.
            backend.encoder = encoder_of(held[version.version])
        await self.plane.put(held[version.version])

    async def _loaded(self, name: str, version: Version) -> ServedModel:
        if isinstance(version, BundleVersion):
            return await self._loaded_encoder(name, version)
        settings = self._settings.models[name]
        cache = self._settings.registry.cache_folder
        verified = await asyncio.to_thread(fetch, Registry(self._registry), version, cache)
        schema = InputSchema(
            name, verified.contract, settings.max_rows, ranges=settings.ranges, longest_string=settings.longest_string
        )
        watch = self.meter.watch(name)
        if settings.placement == "replica":
            from serve.placement.replica import Remote

            remote = await Remote.connect(name, version.version, settings, watch)
            return ServedModel(name, version.version, schema, remote)
        runtime = RUNTIMES[settings.runtime]()
        await asyncio.to_thread(runtime.load, verified.model, settings.threads)
        return ServedModel(name, version.version, schema, Inline(runtime, watch))

    async def _loaded_encoder(self, name: str, version: BundleVersion) -> ServedModel:
        from serve.llm.encoders.backend import loaded

        section = self._settings.encoder(name)
        plane = cast("LanguagePlane", self.plane.language)
        cache = self._settings.registry.cache_folder
        folder = await asyncio.to_thread(fetch_bundle, Bundles(self._registry), version, cache)
        return await asyncio.to_thread(loaded, name, version, folder, section, plane, self.meter.watch(name))

    def _encoder_backend(self, name: str) -> EncoderBackend | None:
        if name not in self._encoders or self._language is None:
            return None
        return cast("EncoderBackend", self._language.backends[self._encoders[name]].backend)

    async def _resolve(self, name: str) -> Version:
        if name in self._encoders:
            reference = self._settings.encoder(name).reference
            bundles = Bundles(self._registry)
            return await asyncio.to_thread(version_of, self._encoders[name], bundles, reference, "encoder")
        registry = Registry(self._registry)
        return await asyncio.to_thread(registry.resolve, name, self._settings.models[name].alias)

    def check_health(self) -> None:
        """Raises: RuntimeError, if housekeeping has ended: keys would no longer be read."""
        if any(task.done() for task in self._tasks):
            raise RuntimeError("the replica's housekeeping has ended")

    def busy_share(self) -> float:
        """The share of time that this process was at work since this was last asked, of one CPU."""
        cpu, at = time.process_time(), time.monotonic()
        share = (cpu - self._cpu) / (at - self._at) if self._at else 0.0
        self._cpu, self._at = cpu, at
        return min(1.0, share)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._language is not None:
            await self._language.close()
        await self._hand_over(RayMetrics())
        self.log.close()

    async def _keep_house(self) -> None:
        sink = RayMetrics()
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                await asyncio.to_thread(self._authenticator.refresh)
                if self._language is not None:
                    self.plane.language_ready = await self._language.router.ready()
                await self._hand_over(sink)
            except Exception:
                logger.exception("housekeeping failed, and goes on")

    async def _count_gateways(self, language: Language) -> None:
        while True:
            try:
                language.shared_by(await self._hub.present())
            except Exception as error:  # noqa: BLE001 - as many as there were
                logger.debug("how many ingress replicas there are is not known: %r", error)
            await asyncio.sleep(PRESENT_SECONDS)

    async def _hand_over(self, sink: RayMetrics) -> None:
        await self.meter.flush(sink)
        levels(sink, self.admission.in_flight, self.plane.waiting)
        await asyncio.to_thread(self.log.flush)
