"""The Serve deployment of a vLLM backend."""

from __future__ import annotations

from typing import Any

from serve.llm.settings import Vllm
from serve.llm.vllm.arguments import command_line, most_calls

SECONDS_BETWEEN_HEALTH_CHECKS = 2

DRAIN_SECONDS = 30
"""How long a replica that is to go may work on at what it has."""


def deployment_name(backend: str) -> str:
    """The name of the deployment of a backend."""
    return f"vllm-{backend}"


def bind(name: str, settings: Vllm, *, on_loopback: bool = False) -> Any:
    """The application (Serve's ``Application``) of this backend, to be bound into another's.

    Raises:
        VllmSettingsError: the settings can't be what vLLM runs.
    """
    from ray import serve as ray_serve

    from serve.llm.vllm.replica import VllmReplica

    calls = most_calls(settings)
    deployment = ray_serve.deployment(
        name=deployment_name(name),
        num_replicas=settings.replicas,
        max_ongoing_requests=calls,
        # Of each ingress process. What waits longer than a round is better told so than kept.
        max_queued_requests=calls,
        health_check_period_s=SECONDS_BETWEEN_HEALTH_CHECKS,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        **resources(settings),
    )(VllmReplica)
    return deployment.bind(name, settings, command_line(name, settings), on_loopback)


def resources(settings: Vllm) -> dict[str, Any]:
    """What Ray must find free for a replica.

    With several GPUs vLLM starts a worker of Ray's for each, and all lie in the replica's placement group; the replica
    itself needs none then.
    """
    if settings.tensor_parallel == 1 or not settings.gpus:
        return {"ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": settings.gpus}}
    # The first has the replica in it too: vLLM wants one of its workers on the node of the process that leads them.
    first = {"CPU": settings.cpus, "GPU": 1.0}
    return {
        "ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": 0},
        "placement_group_bundles": [first, *({"GPU": 1.0} for _ in range(settings.tensor_parallel - 1))],
        "placement_group_strategy": "PACK",
    }
