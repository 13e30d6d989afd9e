"""What language models need before anything is started, said in one line where it isn't there.

Errors::

    UserError
    ├── PackageMissing        the extra of a backend is not installed
    ├── EngineSettingsError   of ``serve.llm.deployed``
    └── LedgerError           of ``serve.llm.ledger``
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from console import UserError
from serve.llm.deployed.sources import Sources, resolved
from serve.llm.engines import plan
from serve.llm.ledger.store import open_store
from serve.llm.settings import Deployed
from serve.settings import Settings

PACKAGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "vllm": (("vllm",), "llm"),
    "huggingface": (("torch", "transformers", "llguidance", "jsonschema"), "llm"),
    "onnx": (("tokenizers", "onnxruntime"), "serve"),
    "bedrock": (("httpx", "botocore"), "llm,aws"),
}
"""Kind of a backend → the packages that it imports, and the extras that have them."""


class PackageMissing(UserError):
    """A backend can't run in this environment."""


def require_language(settings: Settings) -> Mapping[str, Sources]:
    """What each backend's engine takes from the registry, by the backend's name: of those alone that take something.

    Raises:
        PackageMissing, EngineSettingsError, LedgerError, RegistryError.
        CacheUnusable: the cache folder can't be read or written.
    """
    sources: dict[str, Sources] = {}
    for name, backend in settings.backends.items():
        packages, extras = PACKAGES[backend.kind]
        missing = [each for each in packages if importlib.util.find_spec(each) is None]
        if missing:
            raise PackageMissing(
                f"backends.{name}: {', '.join(missing)} is not installed: install ml-training-deployment[{extras}]"
            )
        if isinstance(backend, Deployed):
            registry = settings.registry
            found = resolved(name, backend, registry.uri, registry.cache_folder)
            plan(name, backend, sources=found)
            if found is not None:
                sources[name] = found
    usage = settings.usage
    if usage.ledger is not None:
        open_store(usage.ledger, usage.journals, usage.password).close()
    return sources
