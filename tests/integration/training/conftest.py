from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import shell, synthetic

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def view_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders") / "view"
    synthetic.write_view(folder, 4000)
    return folder


@pytest.fixture(scope="session")
def training_command() -> Command:
    """Runs ``python -m training`` in a folder, where its default registry then is."""
    return shell.training
