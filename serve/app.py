"""The deployment: a replica loads the models it serves and answers from its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ray import serve as ray_serve
from ray.serve import Application, Deployment
from starlette.routing import Router

from serve import loopback
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.asgi import Limits, build
from serve.gateway.transports import TRANSPORTS
from serve.releases.verify import VerifiedModel, fetch
from serve.runtimes import RUNTIMES
from serve.settings import ModelSettings, Settings
from serve.validation import InputSchema
from training.registry import ModelVersion, Registry

DEPLOYMENT = "ingress"
APPLICATION = "default"


def load(name: str, settings: ModelSettings, model: VerifiedModel) -> ServedModel:
    """Load a verified version into its runtime.

    Raises:
        ModelUnloadable: the runtime refuses it.
    """
    runtime = RUNTIMES[settings.runtime]()
    runtime.load(model.model, settings.threads)
    return ServedModel(name, model.version.version, InputSchema(name, model.contract, settings.max_rows), runtime)


class Ingress:
    """One replica. It verifies its models again before it loads them, from the cache where they are there."""

    def __init__(self, settings: Settings, versions: Mapping[str, ModelVersion], registry: str, cache: Path) -> None:
        if loopback.is_loopback(settings.http.host):
            loopback.bind_replica()
        models = [
            load(name, settings.models[name], fetch(Registry(registry), version, cache))
            for name, version in versions.items()
        ]
        self._settings = settings
        self._plane = DataPlane(models, settings.default_name)

    def __serve_build_asgi_app__(self) -> Router:
        limits = Limits(self._settings.http.max_body_bytes, self._settings.http.request_timeout_seconds)
        # Ray appends the request's x-request-id to every response.
        return build(self._plane, TRANSPORTS, limits, names_request=False)

    def check_health(self) -> None:
        self._plane.require_ready()


def bind(settings: Settings, versions: Mapping[str, ModelVersion], registry: str) -> Application:
    """The application for these versions."""
    deploy: Callable[..., Deployment] = ray_serve.deployment(
        name=DEPLOYMENT,
        num_replicas=settings.ingress.replicas,
        max_ongoing_requests=settings.ingress.max_ongoing_requests,
        ray_actor_options={"num_cpus": settings.ingress.cpus},
        graceful_shutdown_timeout_s=settings.ingress.drain_seconds + 5,
    )
    deployment = deploy(ray_serve.ingress()(Ingress))
    return deployment.bind(settings, dict(versions), registry, settings.registry.cache_folder)
