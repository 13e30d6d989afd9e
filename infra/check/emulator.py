"""An AWS of one's own on a loopback port, for as long as a block runs.

Errors::

    UserError
    └── EmulatorError      it is not installed or did not start: what it said
        └── NotEmulated    it was asked for what it can't do, which AWS does
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console import UserError, one_line

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "emulator", "AWS_SECRET_ACCESS_KEY": "emulator"}

PATIENCE_SECONDS = 10
"""For it to end by itself."""


class EmulatorError(UserError):
    """The emulator did not start."""


class NotEmulated(EmulatorError):
    """It was asked for what it can't do, which AWS does: no answer at all is better than another one."""


@dataclass(frozen=True)
class Emulator:
    """``log``: what the server and the functions in it print."""

    url: str
    log: Path

    def environment(self, region: str) -> dict[str, str]:
        """For a process that speaks with it instead of with AWS."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("moto", "flask"))


@contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """Start it, with its log in ``folder``; it is gone when the block ends, however it ends.

    Raises:
        EmulatorError: it did not start.
    """
    log = folder / "emulator.log"
    command = [sys.executable, "-m", "infra.check.emulator_server"]
    # The session is its own, so that Ctrl-C reaches this process alone, which then ends it in order.
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            text=True,
        ) as process,
    ):
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port.isdigit():
                raise EmulatorError(f"the AWS emulator did not start: {_last_line(log)}: `pip install 'moto[server]'`")
            yield Emulator(f"http://127.0.0.1:{port}", log)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").splitlines()
    return one_line(lines[-1]) if lines else "it said nothing"
