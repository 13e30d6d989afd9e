"""The deployments: ingress replicas that answer every protocol, and a deployment for each model that has its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ray import serve as ray_serve
from ray.serve import Application, Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from starlette.types import ASGIApp

from serve import direct, loopback
from serve.autoscaling import by_busy_share
from serve.gateway.servicer import Servicer
from serve.hub import OwnHub, SharedHub
from serve.llm.deployed.sources import Sources
from serve.llm.settings import Deployed
from serve.releases.wishes import Version
from serve.replica import IngressReplica
from serve.settings import Autoscaling, Settings

DEPLOYMENT = "ingress"
APPLICATION = "default"

SECONDS_BETWEEN_HEALTH_CHECKS = 2

BUSY_OVER_SECONDS = 12
"""How long autoscaling looks back. More than the ten seconds between two reports of a replica; Ray's own thirty
would come on top of ``up_after_seconds``."""


class Ingress(Servicer):
    """The deployment's class: what Serve calls, and nothing else. Its gRPC methods are the servicer's."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, settings: Settings, versions: Mapping[str, Version], registry: str, hub: str, *_models: Any
    ) -> None:
        if settings.http.on_loopback:
            loopback.bind_replica()
        member = uuid.uuid4().hex
        client = SharedHub(hub, member) if shares(settings) else OwnHub(member)
        self.replica = await IngressReplica.start(settings, versions, registry, client)
        direct.install(self.replica.gateway)
        super().__init__(self.replica)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return direct.behind_serve(self.replica.gateway)

    def check_health(self) -> None:
        self.replica.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return {"busy": self.replica.busy_share()}

    async def __del__(self) -> None:
        await self.replica.close()


def bind(
    settings: Settings,
    versions: Mapping[str, Version],
    registry: str,
    sources: Mapping[str, Sources] = MappingProxyType({}),
) -> Application:
    """The application for these versions. ``sources``: what engines of language models take from the registry."""
    # Another one for each application: wishes for an earlier one's versions must not outlive it.
    hub = f"ingress-hub-{uuid.uuid4().hex}"
    models = [
        _model(name, settings, versions[name], registry, hub)
        for name, model in settings.models.items()
        if model.placement == "replica"
    ]
    models += _language_models(settings, sources)
    ingress = settings.ingress
    deployment = _deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=ingress.max_ongoing_requests,
        ray_actor_options=_resources(ingress.cpus, memory=settings.inline_memory_bytes),
        graceful_shutdown_timeout_s=ingress.drain_seconds + 5,
        health_check_period_s=SECONDS_BETWEEN_HEALTH_CHECKS,
        **_scale(ingress.replicas, ingress.autoscaling),
    )(ray_serve.ingress()(Ingress))
    return deployment.bind(settings, dict(versions), registry, hub, *models)


def shares(settings: Settings) -> bool:
    """Whether several processes have to agree on limits or versions."""
    return settings.ingress.most_replicas > 1 or any(model.placement == "replica" for model in settings.models.values())


def _model(name: str, settings: Settings, version: Version, registry: str, hub: str) -> Application:
    from serve.placement.replica import ModelReplica, model_deployment

    model = settings.models[name]
    deployment = _deployment(
        name=model_deployment(name),
        max_ongoing_requests=model.calls * max(2, settings.ingress.most_replicas),
        ray_actor_options=_resources(model.cpus, model.gpus, model.needs.memory_bytes),
        health_check_period_s=SECONDS_BETWEEN_HEALTH_CHECKS,
        **_scale(model.replicas, model.autoscaling),
    )(ModelReplica)
    return deployment.bind(name, settings, version, registry, hub)


def _language_models(settings: Settings, sources: Mapping[str, Sources]) -> list[Application]:
    """A deployment for each backend that has one of its own, and one that follows the models of the others."""
    from serve.llm.deployed import follower
    from serve.llm.deployed.deployment import bind as bound
    from serve.llm.deployed.follower import Followed

    engines = {name: backend for name, backend in settings.backends.items() if isinstance(backend, Deployed)}
    followed = tuple(Followed(name, each, sources[name]) for name, each in engines.items() if each.followed)
    on_loopback = settings.http.on_loopback
    applications = [
        bound(name, backend, on_loopback=on_loopback, sources=sources.get(name))
        for name, backend in engines.items()
        if not backend.followed
    ]
    if followed:
        applications.append(follower.bind(followed, uuid.uuid4().hex, on_loopback=on_loopback))
    return applications


def _resources(cpus: float, gpus: float = 0, memory: int = 0) -> dict[str, float]:
    """What Ray must find free on a node. No memory is none to count, which Ray wouldn't take as 0."""
    found = {"num_cpus": cpus, "num_gpus": gpus}
    return {**found, "memory": memory} if memory else found


def _deployment(**options: Any) -> Callable[[Any], Deployment]:
    made: Callable[[Any], Deployment] = ray_serve.deployment(**options)
    return made


def _scale(replicas: int, autoscaling: Autoscaling | None) -> dict[str, object]:
    if autoscaling is None:
        return {"num_replicas": replicas}
    config = AutoscalingConfig(
        min_replicas=autoscaling.lowest,
        max_replicas=autoscaling.highest,
        upscale_delay_s=autoscaling.up_after_seconds,
        downscale_delay_s=autoscaling.down_after_seconds,
        look_back_period_s=BUSY_OVER_SECONDS,
        policy=AutoscalingPolicy(policy_function=by_busy_share),
    )
    return {"autoscaling_config": config}
