"""The serving settings of a stack: its file, and what only the stack knows.

Errors::

    UserError
    └── SettingsError    of ``serve.settings``: the file, or what it says, is not as expected
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.naming import Naming
from infra.settings import StackSettings
from serve.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[1]
"""The folder of ``Pulumi.yaml``. Pulumi runs the program in that of ``main``."""

STORE = "secretsmanager:"
"""Of secrets, as an address in the settings begins."""

HAS_PASSWORD = re.compile(r"://[^?@]*:[^?@]+@|[?&](ssl)?password=")
"""An address of PostgreSQL."""


@dataclass(frozen=True)
class Serving:
    """``settings`` as the ingress will read them from ``text`` (YAML)."""

    settings: Settings
    text: str


def api_keys_secret(naming: Naming) -> str:
    """The name of the secret that ``python -m serve keys`` writes."""
    return naming.path("api-keys")


def serving(stack: StackSettings, naming: Naming) -> Serving:
    """What the ingress of this stack serves on AWS; its ledger, where the stack has one, comes into the text later.

    Raises:
        SettingsError: the stack's file can't be read, or says what can't be; or it says what the stack decides.
    """
    file = ROOT / stack.serving
    read = _read(file)
    if stack.ledger is not None:
        if not read.language_models:
            raise SettingsError(
                f"{file}: no language_models are given, expected some: the stack has a ledger of their use"
            )
        for key in ("ledger", "password", "journals"):
            if key in read.usage.model_fields_set:
                raise SettingsError(f"{file}: usage.{key} is given, expected none: the stack's own ledger is used")
    return _with_keys(read, f"{STORE}{api_keys_secret(naming)}?region={stack.region}")


def serving_elsewhere(stack: StackSettings, file: str | None, keys: str) -> Serving:
    """What a part on Azure serves: the stack's file, or ``file``. ``keys``: its key store.

    Raises:
        SettingsError: as of :func:`serving`; or language models are served there.
    """
    path = ROOT / (file or stack.serving)
    read = _read(path)
    if read.language_models:
        raise SettingsError(
            f"{path}: language_models are given, expected none on Azure, where engines have no GPUs and Bedrock no "
            "credentials: name a file without them in azure.serving"
        )
    return _with_keys(read, keys)


def _read(file: Path) -> Settings:
    read = read_settings(file)
    if read.registry.uri is not None:
        raise SettingsError(
            f"{file}: registry.uri is {read.registry.uri}, expected none: the stack's own MLflow is used"
        )
    usage = read.usage
    if HAS_PASSWORD.search(usage.ledger or "") or not (usage.password or STORE).startswith(STORE):
        # What was given is not shown either.
        raise SettingsError(
            f"{file}: a password is in usage, expected {STORE}NAME in usage.password and none in usage.ledger: "
            "whoever may describe a container would read it"
        )
    return read


def _with_keys(read: Settings, keys: str) -> Serving:
    document = read.model_dump(mode="json", exclude_defaults=True)
    document["access"] = {**document.get("access", {}), "keys": keys}
    return Serving(Settings.model_validate(document), yaml.safe_dump(document, sort_keys=False))
