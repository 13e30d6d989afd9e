"""The applications of a backend's generations, as their follower has Serve start and end them."""

from __future__ import annotations

from typing import Any

from ray import serve as ray_serve

from serve.handles import handle_of
from serve.llm.deployed.deployment import bind, deployment_name
from serve.llm.deployed.generations import Generation, State, generations, going, states
from serve.llm.deployed.sources import Sources
from serve.llm.settings import Deployed

COUNT_SECONDS = 5
"""How long replicas may take to say how many requests they have."""


class Applications:
    """Of one backend. Its methods raise what Serve does, and block. ``name``: of the backend. ``own``: the application
    that they are started for.
    """

    def __init__(self, name: str, settings: Deployed, own: str, *, on_loopback: bool) -> None:
        self._name = name
        self._settings = settings
        self._own = own
        self._on_loopback = on_loopback
        self._deployment = deployment_name(settings.kind, name)
        self._handles: dict[str, Any] = {}

    def found(self) -> dict[Generation, State]:
        """Also those that are going."""
        return generations(states(self._deployment), self._name)

    def start(self, generation: Generation, sources: Sources) -> None:
        """Begin to start one, whose files this machine's cache has. Where the whole service ends nothing is started.

        Raises:
            EngineSettingsError: the settings can't be what the engine runs.
        """
        if going(self._own):
            return
        application = bind(self._name, self._settings, on_loopback=self._on_loopback, sources=sources)
        ray_serve.run_many(
            [ray_serve.RunTarget(application, name=generation.application, route_prefix=None)],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def delete(self, generation: Generation) -> None:
        """Begin to end one: it works on at what it has for ``DRAIN_SECONDS``."""
        self._handles.pop(generation.application, None)
        ray_serve.delete(generation.application, _blocking=False)

    def end_all(self) -> None:
        """End them where the application goes that they were started for. Where it is deployed anew they stay."""
        if going(self._own):
            for generation in self.found():
                self.delete(generation)

    async def running(self, generation: Generation) -> int:
        """Requests in its engines. It does not block: a handle belongs to the event loop that it is called on."""
        name = generation.application
        if name not in self._handles:
            self._handles[name] = handle_of(self._deployment, name)
        counts: list[int] = await self._handles[name].broadcast("running").results_async(timeout_s=COUNT_SECONDS)
        return sum(counts)
