"""Where the model of a backend is."""

from __future__ import annotations

import re
from pathlib import Path

from serve.llm.deployed.engine import EngineSettingsError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_folder(model: str) -> bool:
    return Path(model).expanduser().is_dir()


def model_source(name: str, model: str) -> str:
    """A folder's whole path, or the hub's id as it is. ``name``: of the backend.

    Raises:
        EngineSettingsError: it is neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EngineSettingsError(name, f"model: {model} is a folder without a config.json")
        return str(folder.resolve())
    if HUB_ID.fullmatch(model) is None:
        raise EngineSettingsError(name, f"model: {model} is no folder here, and no id of a hub")
    return model
