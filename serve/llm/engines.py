"""The kinds of engines that a backend's deployment can have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from console import UserError
from serve.llm.deployed.engine import Engine, Plan
from serve.llm.deployed.sources import Sources, fetch, located, renewed
from serve.llm.huggingface.plan import plan as hugging_face
from serve.llm.settings import Deployed, HuggingFace, Vllm
from serve.llm.vllm.plan import plan as vllm

logger = logging.getLogger("ray.serve")


class Planner(Protocol):
    def __call__(self, name: str, settings: Any, *, on_loopback: bool) -> Plan:
        """Raises: EngineSettingsError: the settings can't be what the engine runs."""
        ...


ENGINES: Mapping[type[Deployed], Planner] = {Vllm: vllm, HuggingFace: hugging_face}


def plan(name: str, settings: Deployed, *, on_loopback: bool = False, sources: Sources | None = None) -> Plan:
    """What the replicas of this backend are to be. ``sources``: what it takes from the registry, which this
    machine's cache has.

    Raises:
        EngineSettingsError: the settings can't be what the engine runs.
    """
    planner = ENGINES[type(settings)]
    if sources is None:
        return planner(name, settings, on_loopback=on_loopback)
    planned = planner(name, located(settings, sources), on_loopback=on_loopback)
    return replace(planned, start=partial(_start_released, name, settings, sources, on_loopback))


def fetched(name: str, sources: Sources) -> Sources:
    """With the adapters of now, where they can be had: a replica may be started long after the service."""
    try:
        found = renewed(name, sources)
        fetch(found)
    except UserError as error:
        logger.warning("%s; backend %s starts with what it was deployed with", error, name)
        fetch(sources)
        return sources
    return found


async def _start_released(name: str, settings: Deployed, sources: Sources, on_loopback: bool) -> Engine:
    """Run in a replica, whose machine may be another one: it verifies files of its own."""
    from serve.llm.deployed.released import ReleasedEngine

    sources = await asyncio.to_thread(fetched, name, sources)
    here = located(settings, sources)
    engine: Any = await ENGINES[type(settings)](name, here, on_loopback=on_loopback).start()
    released = ReleasedEngine(name, engine, sources)
    if isinstance(settings, Vllm):
        released.follow(engine, settings.follow_seconds)
    return released
