"""The replicas of a Hugging Face backend."""

from __future__ import annotations

from functools import partial

from serve.llm.deployed.engine import Engine, Plan
from serve.llm.deployed.source import is_folder, model_source
from serve.llm.settings import HuggingFace


def plan(name: str, settings: HuggingFace, *, on_loopback: bool) -> Plan:  # noqa: ARG001 - it listens nowhere
    """Raises:
    EngineSettingsError: the model is not there.
    """
    return Plan(
        environment=environment(settings),
        # What the engine works on, and as many again that wait in it.
        calls=2 * settings.sequences,
        resources={
            "ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": settings.gpus, **settings.declared},
        },
        start=partial(_start, name, settings, model_source(name, settings.model)),
    )


def environment(settings: HuggingFace) -> dict[str, str]:
    """Variables that the replica's process is to have."""
    found = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    if is_folder(settings.model):
        found["HF_HUB_OFFLINE"] = "1"
    if not settings.gpus:
        found["OMP_NUM_THREADS"] = str(max(1, int(settings.cpus)))
    return found


async def _start(name: str, settings: HuggingFace, source: str) -> Engine:
    from serve.llm.huggingface.engine import HuggingFaceEngine

    return await HuggingFaceEngine.start(name, settings, source)
