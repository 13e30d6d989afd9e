"""The environment of a user's own shell, for the commands that the tests type."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# MLflow writes the first into the environment of the process that sets an address; a make that runs the
# tests writes the others, and a make under it would print which folder it enters.
INHERITED = frozenset({"MLFLOW_TRACKING_URI", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"})


def environment() -> dict[str, str]:
    """This process's variables without what MLflow and make have added to them."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED}


def make(target: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """``make`` in the repository's root; what it says on either stream is its ``stdout``.

    Raises: AssertionError: it was not done in time, and has been ended; what it has said until then.
    """
    # No pipe: whatever keeps one open is waited for when it is read to its end.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ["make", target],
            cwd=Path(__file__).parents[1],
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(seconds)
        finally:
            if code is None:
                _end(process)
        output.seek(0)
        said = output.read()
    assert code is not None, f"make {target} was not done in {seconds:g} s:\n{said}"
    return subprocess.CompletedProcess(process.args, code, said)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and its whole group; at first as Ctrl-C does, for what it runs in groups of their own is its to stop."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)


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
