"""The Serve deployment of a backend with an engine."""

from __future__ import annotations

from typing import Any

from serve.llm.deployed.channel import LEASE_SECONDS
from serve.llm.deployed.sources import Sources
from serve.llm.engines import plan
from serve.llm.settings import Deployed

SECONDS_BETWEEN_HEALTH_CHECKS = 2

CHANNELS = 64
"""Calls of Serve's that may be channels, of all ingress processes together. Each has one for new calls, and those on
which answers began that have not ended."""

DRAIN_SECONDS = 30
"""How long a replica that is to go may work on at what it has, at least."""


def deployment_name(kind: str, backend: str) -> str:
    """The name of the deployment of a backend."""
    return f"{kind}-{backend}"


def bind(name: str, settings: Deployed, *, on_loopback: bool = False, sources: Sources | None = None) -> Any:
    """The application (Serve's ``Application``) of this backend, to be bound into another's.

    Raises:
        EngineSettingsError: the settings can't be what the engine runs.
    """
    from ray import serve as ray_serve

    from serve.llm.deployed.replica import EngineReplica

    planned = plan(name, settings, on_loopback=on_loopback, sources=sources)
    deployment = ray_serve.deployment(
        name=deployment_name(settings.kind, name),
        num_replicas=settings.replicas,
        # The replica itself holds its calls to their number, by whichever way they come.
        max_ongoing_requests=planned.calls + (CHANNELS if settings.replicas == 1 else 0),
        # Of each ingress process. What waits longer than a round is better told so than kept.
        max_queued_requests=planned.calls,
        health_check_period_s=SECONDS_BETWEEN_HEALTH_CHECKS,
        # For a lease longer there come new calls.
        graceful_shutdown_timeout_s=DRAIN_SECONDS + LEASE_SECONDS,
        **planned.resources,
    )(EngineReplica)
    return deployment.bind(name, planned, on_loopback)
