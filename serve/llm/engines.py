"""The kinds of engines that a backend's deployment can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from serve.llm.deployed.engine import Plan
from serve.llm.huggingface.plan import plan as hugging_face
from serve.llm.settings import Deployed, HuggingFace, Vllm
from serve.llm.vllm.plan import plan as vllm


class Planner(Protocol):
    def __call__(self, name: str, settings: Any, *, on_loopback: bool) -> Plan:
        """Raises: EngineSettingsError: the settings can't be what the engine runs."""
        ...


ENGINES: Mapping[type[Deployed], Planner] = {Vllm: vllm, HuggingFace: hugging_face}


def plan(name: str, settings: Deployed, *, on_loopback: bool = False) -> Plan:
    """What the replicas of this backend are to be.

    Raises:
        EngineSettingsError: the settings can't be what the engine runs.
    """
    return ENGINES[type(settings)](name, settings, on_loopback=on_loopback)
