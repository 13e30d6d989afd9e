"""Which types take tags, by the source of Pulumi's SDKs: importing them would take longer than all rules."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

SDKS: Mapping[str, str] = {"aws": "pulumi_aws", "azure-native": "pulumi_azure_native"}
"""Package of a type → Python's package."""

REGISTERED = re.compile(r'resource_modules="""(.*?)"""', re.DOTALL)
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
TAGS = re.compile(r"\bdef tags\(self\) -> pulumi\.Output\b")


@cache
def takes_tags(type_: str) -> bool | None:
    """Whether resources of a type have tags; None where its SDK is not installed, or doesn't know it."""
    found = _classes(type_.partition(":")[0]).get(type_)
    if found is None:
        return None
    folder, name = found
    text = _source(folder, name)
    return None if text is None else TAGS.search(text) is not None


@cache
def _classes(package: str) -> Mapping[str, tuple[Path, str]]:
    """Type → its module's folder, and its class."""
    spec = importlib.util.find_spec(SDKS[package]) if package in SDKS else None
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = Path(spec.submodule_search_locations[0])
    table = REGISTERED.search((root / "__init__.py").read_text(encoding="utf-8"))
    return {
        type_: (root.joinpath(*module["fqn"].split(".")[1:]), name)
        for module in (json.loads(table[1]) if table else ())
        for type_, name in module["classes"].items()
    }


def _source(folder: Path, name: str) -> str | None:
    """The class's source and what follows it."""
    likely = folder / f"{CAPITAL.sub('_', name).lower()}.py"
    start = f"\nclass {name}(pulumi.CustomResource):"
    for file in (likely, *sorted(folder.glob("*.py"))):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            if start in text:
                return text[text.index(start) :]
    return None
