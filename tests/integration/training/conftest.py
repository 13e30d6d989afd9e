from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import synthetic

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def view_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders") / "view"
    synthetic.write_view(folder, 4000)
    return folder


def own_registry() -> dict[str, str]:
    """The environment without a registry's address: MLflow leaves there the last one it was told in this process."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}


@pytest.fixture(scope="session")
def training_command() -> Command:
    """Runs ``python -m training`` in a folder, where its default registry then is."""

    def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "training", *arguments],
            cwd=folder,
            env={**own_registry(), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
