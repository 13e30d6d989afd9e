"""What a container gets of the serving settings' language models: where their engines run, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from infra.aws.unfit import PLACE, UnfitForContainer, require_writable
from serve.settings import Deployed, Settings, SettingsText, Vllm, from_registry, read_settings

OF_A_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

PATHS = ["/v1/*"]
"""Of every language model: a request of OpenAI's API names its model in its body, which no load balancer reads."""

SECTIONS = ("backends", "language_models", "prompts", "usage")
"""Of the serving settings, which speak of language models alone."""


def require_container(settings: Settings, *, ledger: bool) -> None:
    """``ledger``: whether the stack has one of its own, which comes into the settings later.

    Raises:
        UnfitForContainer: they would not work in a container.
    """
    kept = settings.usage.ledger or ""
    if settings.language_models and not ledger and kept.startswith("sqlite:"):
        raise UnfitForContainer(
            f"{PLACE}: usage.ledger is {kept}, expected null, or a `ledger` in the stack's settings: "
            "a container's disk ends with it"
        )
    require_writable("usage.journals", settings.usage.journals)
    for name, backend in _engines(settings):
        _require_source(f"backends.{name}.model", backend.model, hub=True)
        for adapter, source in backend.adapters.items() if isinstance(backend, Vllm) else ():
            _require_source(f"backends.{name}.adapters.{adapter}", source, hub=False)
        if not backend.gpus:
            raise UnfitForContainer(
                f"{PLACE}: backends.{name}.gpus is 0, expected above 0: "
                "the image serve-llm has the engines' builds for GPUs alone"
            )


def _require_source(path: str, source: str, *, hub: bool) -> None:
    if not from_registry(source) and not (hub and OF_A_HUB.fullmatch(source)):
        other = ", or a hub's id" if hub else ""
        raise UnfitForContainer(
            f"{PLACE}: {path} is {source}, expected registry:NAME@ALIAS{other}: a container has no such folder"
        )


def _engines(settings: Settings) -> Iterator[tuple[str, Deployed]]:
    yield from ((name, each) for name, each in settings.backends.items() if isinstance(each, Deployed))


def on_gpus(settings: Settings) -> dict[str, Deployed]:
    """The backends whose engines ask for GPUs."""
    return {name: backend for name, backend in _engines(settings) if backend.gpus > 0}


def leads_to_gpus(settings: Settings) -> bool:
    """Whether a name has a route that Fargate can't answer."""
    there = on_gpus(settings)
    return any(route.backend in there for model in settings.language_models.values() for route in model.routes)


def gpus_needed(settings: Settings) -> float:
    return sum(backend.replicas * backend.gpus_in_all for backend in on_gpus(settings).values())


def parallel(settings: Settings) -> int:
    """Among how many GPUs a model is divided at the most: their workers exchange data by shared memory."""
    return max((each.tensor_parallel for each in on_gpus(settings).values() if isinstance(each, Vllm)), default=1)


def start_seconds(settings: Settings) -> float:
    """How long an engine may take until it answers."""
    return max((each.start_seconds for each in on_gpus(settings).values()), default=0)


def gpu_image(settings: Settings) -> str:
    """Which image runs where GPUs are."""
    return "serve-llm" if on_gpus(settings) else "serve-gpu"


def pod_image(settings: Settings) -> str:
    """Which image runs in the other pods: Serve may build the application in any of them, and looks for its engines."""
    return "serve-llm" if on_gpus(settings) else "serve"


def leave_out_gpus(document: dict[str, Any], settings: Settings) -> None:
    """Takes the backends with GPUs out of the settings' document, the routes to them, and names that had no others."""
    there = on_gpus(settings)
    if not there:
        return
    document["backends"] = {name: each for name, each in document["backends"].items() if name not in there}
    names = document.get("language_models", {})
    for each in names.values():
        each["routes"] = [route for route in each["routes"] if route["backend"] not in there]
    document["language_models"] = {name: each for name, each in names.items() if each["routes"]}


def without(text: str) -> str:
    """The settings of a part that has models of tables alone.

    Raises:
        SettingsError: of ``serve.settings``.
        UnfitForContainer: none would be left.
    """
    settings = read_settings(SettingsText(text, PLACE))
    if not settings.backends and not settings.language_models:
        return text
    if not settings.models:
        raise UnfitForContainer(
            f"{PLACE}: there are language_models alone, expected one in models: "
            "a function runs no engine, and streams nothing from Bedrock"
        )
    document = settings.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump({key: each for key, each in document.items() if key not in SECTIONS}, sort_keys=False)
