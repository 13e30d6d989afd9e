"""The environment of a user's own shell, for the commands that the tests type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# MLflow writes the first into the environment of the process that sets an address; a make that runs the
# tests writes the others, and a make under it would print which folder it enters.
INHERITED = frozenset({"MLFLOW_TRACKING_URI", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"})


def environment() -> dict[str, str]:
    """This process's variables without what MLflow and make have added to them."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED}


def make(target: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """``make`` in the repository's root; what it says on either stream is its ``stdout``."""
    return subprocess.run(
        ["make", target],
        cwd=Path(__file__).parents[1],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def training(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``python -m training`` in a folder, where its default registry then is; ``more`` are variables."""
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=folder,
        env={**environment(), **more},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
