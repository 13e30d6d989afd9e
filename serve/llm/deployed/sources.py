"""Models and adapters of backends that are versions in the registry: resolved, verified, fetched to where they run.

A replica keeps the version of its model, also where it is started anew: another one is other replicas'
(``serve.llm.deployed.follower``). Of an adapter that is named by an alias it has what the alias names then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from console import stage
from serve.llm.deployed.engine import EngineSettingsError
from serve.llm.settings import Deployed, Vllm
from serve.releases.bundles import fetch_bundle, folder_of
from serve.releases.verify import DIGEST_DIGITS
from training.bundle import Bundles, BundleVersion, Kind, Reference

S = TypeVar("S", bound=Deployed)


@dataclass(frozen=True)
class Adapter:
    """``reference``: what the settings name; ``version``: what it named last."""

    reference: Reference
    version: BundleVersion

    @property
    def label(self) -> str:
        return label(self.version)


@dataclass(frozen=True)
class Sources:
    """What a backend takes from the registry at ``uri``. ``model``: ``None`` where it is a folder or a hub's id.

    It passes between processes. ``cache``: a folder of each machine.
    """

    uri: str
    cache: Path
    model: BundleVersion | None
    adapters: Mapping[str, Adapter]

    @property
    def label(self) -> str:
        return label(self.model) if self.model is not None else ""

    @property
    def versions(self) -> list[BundleVersion]:
        model = [self.model] if self.model is not None else []
        return [*model, *(adapter.version for adapter in self.adapters.values())]


def label(version: BundleVersion) -> str:
    """How an answer names the version that made it."""
    return f"{version.name}/{version.version}"


def loaded_as(adapter: str, version: BundleVersion) -> str:
    """The engine's name of one version of an adapter: several may be loaded while one takes the other's place."""
    return f"{adapter}.{version.name}.{version.version}"


def resolved(name: str, settings: Deployed, uri: str | None, cache: Path) -> Sources | None:
    """The versions that this backend names, fetched and verified, each said in a line; ``None``: it names none.

    ``uri``: of the registry; ``None``: the one that ``training`` writes to.

    Raises:
        EngineSettingsError: a version is of another kind than what it is to be.
        RegistryError: there is no such version, its files are not what was registered, or nothing answers.
        CacheUnusable: the cache folder can't be read or written.
    """
    model = Reference.parse(settings.model)
    given = settings.adapters if isinstance(settings, Vllm) else {}
    references = {adapter: Reference.parse(source) for adapter, source in given.items()}
    adapters = {adapter: reference for adapter, reference in references.items() if reference is not None}
    if model is None and not adapters:
        return None
    bundles = Bundles(uri)
    base = verify(name, bundles, model, "language-model", cache) if model is not None else None
    verified = {
        adapter: Adapter(reference, verify(name, bundles, reference, "adapter", cache, base))
        for adapter, reference in adapters.items()
    }
    return Sources(bundles.uri, cache, base, verified)


def verify(
    name: str, bundles: Bundles, reference: Reference, kind: Kind, cache: Path, base: BundleVersion | None = None
) -> BundleVersion:
    """:func:`version_of`, fetched and verified, and said in a line.

    Raises:
        EngineSettingsError, RegistryError, CacheUnusable: as in :func:`resolved`.
    """
    with stage(f"verify {reference}") as current:
        version = version_of(name, bundles, reference, kind, base)
        fetch_bundle(bundles, version, cache)
        current.detail = f"version {version.version}, SHA-256 {version.manifest_digest[:DIGEST_DIGITS]}…"
    return version


def version_of(
    name: str, bundles: Bundles, reference: Reference, kind: Kind, base: BundleVersion | None = None
) -> BundleVersion:
    """The version that a reference names now. ``name``: of the backend. ``base``: what an adapter is to be of.

    Raises:
        EngineSettingsError: it is of another kind, or tells that it is of another model: engines load those too.
        RegistryError: there is none, or nothing answers.
    """
    version = bundles.find(reference)
    if version.kind != kind:
        raise EngineSettingsError(name, f"{reference} is a version of the kind {version.kind}, and not {kind}")
    if base is not None and version.base_digest not in ("", base.manifest_digest):
        raise EngineSettingsError(name, f"{label(version)} was fine-tuned from another model than {label(base)}")
    return version


def model_of(name: str, settings: Deployed, bundles: Bundles) -> BundleVersion:
    """The version that a backend's model is now, which is one of the registry.

    Raises:
        EngineSettingsError, RegistryError: as in :func:`version_of`.
    """
    return version_of(name, bundles, cast("Reference", Reference.parse(settings.model)), "language-model")


def renewed(name: str, sources: Sources) -> Sources:
    """With the adapters that their references name now.

    Raises:
        EngineSettingsError, RegistryError: as in :func:`version_of`.
    """
    bundles = Bundles(sources.uri)
    adapters = {
        each: replace(adapter, version=version_of(name, bundles, adapter.reference, "adapter", sources.model))
        for each, adapter in sources.adapters.items()
    }
    return replace(sources, adapters=adapters)


def fetch(sources: Sources) -> None:
    """Have all of it, verified, in this machine's cache.

    Raises:
        RegistryError, CacheUnusable: as in :func:`resolved`.
    """
    bundles = Bundles(sources.uri)
    for version in sources.versions:
        fetch_bundle(bundles, version, sources.cache)


def located(settings: S, sources: Sources) -> S:
    """The settings with folders of the cache in place of versions; adapters by :func:`loaded_as`.

    Reads no file: to verify a large model takes a while, and whoever loads it has done so by :func:`fetch`.
    """
    changed: dict[str, object] = {}
    if sources.model is not None:
        changed["model"] = str(folder_of(sources.model, sources.cache))
    if isinstance(settings, Vllm):
        adapters = {name: source for name, source in settings.adapters.items() if name not in sources.adapters}
        for name, adapter in sources.adapters.items():
            adapters[loaded_as(name, adapter.version)] = str(folder_of(adapter.version, sources.cache))
        changed["adapters"] = adapters
    return settings.model_copy(update=changed)


def rank_of(adapter: Path) -> int:
    """The rank that an adapter's configuration tells; 0 where it tells none."""
    try:
        rank = json.loads((adapter / "adapter_config.json").read_bytes()).get("r", 0)
    except (OSError, ValueError, AttributeError):
        return 0
    return rank if isinstance(rank, int) else 0
