"""A real ``mlflow server`` with SQLite, for as long as a block runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.ports import free_port

PATIENCE_SECONDS = 300
STOP_SECONDS = 5


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Gives its address; its files and its log are in ``folder``. It may not answer yet: see :func:`wait_for`."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            # Its parent process lingers after the server has ended, with nothing left to lose.
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(120)


def wait_for(url: str, folder: Path) -> None:
    """Until it answers."""
    started = time.monotonic()
    while not _answers(url):
        assert time.monotonic() - started < PATIENCE_SECONDS, (folder / "log").read_text()
        time.sleep(0.3)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
