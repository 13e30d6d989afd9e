"""The replicas of a vLLM backend."""

from __future__ import annotations

from functools import partial
from typing import Any

from serve.llm.deployed.engine import Engine, Plan
from serve.llm.settings import Vllm
from serve.llm.vllm.arguments import command_line, environment, most_calls


def plan(name: str, settings: Vllm, *, on_loopback: bool) -> Plan:
    """Raises:
    EngineSettingsError: the settings can't be what vLLM runs.
    """
    return Plan(
        environment=environment(settings, on_loopback=on_loopback),
        calls=most_calls(settings),
        resources=resources(settings),
        start=partial(_start, name, command_line(name, settings), settings.stall_seconds),
    )


def resources(settings: Vllm) -> dict[str, Any]:
    """What Ray must find free for a replica.

    With several GPUs vLLM starts a worker of Ray's for each, and all lie in the replica's placement group; the replica
    itself needs none then.
    """
    if settings.tensor_parallel == 1 or not settings.gpus:
        return {"ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": settings.gpus, **settings.declared}}
    # The first has the replica in it too: vLLM wants one of its workers on the node of the process that leads them.
    first = {"CPU": settings.cpus, "GPU": 1.0, **settings.declared}
    return {
        "ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": 0, **settings.declared},
        "placement_group_bundles": [first, *({"GPU": 1.0} for _ in range(settings.tensor_parallel - 1))],
        "placement_group_strategy": "PACK",
    }


async def _start(name: str, words: list[str], stall_seconds: float) -> Engine:
    from serve.llm.vllm.engine import VllmEngine

    return await VllmEngine.start(name, words, stall_seconds)
