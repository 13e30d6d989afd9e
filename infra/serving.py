"""The serving settings of a stack: its file, and what only the stack knows.

Errors::

    UserError
    └── SettingsError    of ``serve.settings``: the file, or what it says, is not as expected
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.naming import Naming
from infra.settings import StackSettings
from serve.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[1]
"""The folder of ``Pulumi.yaml``. Pulumi runs the program in that of ``main``."""


@dataclass(frozen=True)
class Serving:
    """``settings`` as the ingress will read them from ``text`` (YAML)."""

    settings: Settings
    text: str


def api_keys_secret(naming: Naming) -> str:
    """The name of the secret that ``python -m serve keys`` writes."""
    return naming.path("api-keys")


def serving(stack: StackSettings, naming: Naming, keys: str | None = None) -> Serving:
    """What the ingress of this stack serves. ``keys``: its key store, where that is not the secret on AWS.

    Raises:
        SettingsError: the stack's file can't be read, or says what can't be; or it says what the stack decides.
    """
    file = ROOT / stack.serving
    read = read_settings(file)
    if read.registry.uri is not None:
        raise SettingsError(
            f"{file}: registry.uri is {read.registry.uri}, expected none: the stack's own MLflow is used"
        )
    if read.language_models:
        raise SettingsError(
            f"{file}: language_models are given, expected none: the images (infra/images) have no package of theirs yet"
        )
    keys = keys or f"secretsmanager:{api_keys_secret(naming)}?region={stack.region}"
    document = read.model_dump(mode="json", exclude_defaults=True)
    document["access"] = {**document.get("access", {}), "keys": keys}
    return Serving(Settings.model_validate(document), yaml.safe_dump(document, sort_keys=False))
