"""Starts what the demo needs, and makes sure that none of it outlives the demo."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from console import UserError, say, stage

MARK = "ML_DEMO_PROCESS"
"""Every process that the demo starts, and everything those start, has this variable in its environment."""

STOP_SECONDS = 40
TAIL_LINES = 5


class DemoError(UserError):
    """A step of the demo did not do what it should."""


@dataclass(frozen=True)
class Background:
    """A command that runs in the background."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self, url: str, timeout: float = 400) -> None:
        """Wait for ``GET url`` to answer 200.

        Raises:
            DemoError: the process ended, or the time is up; the last lines of its log say why.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise DemoError(f"it ended with exit code {self.process.returncode}; {self._last_words()}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                    return
            time.sleep(0.2)
        raise DemoError(f"{url} was not ready after {timeout:.0f} s; {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"the end of {self.log}: {' | '.join(lines)}"


class Processes:
    """The commands of one demo, run in the foreground or the background, with one environment."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, **environment, MARK: self.mark}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, *command: str) -> None:
        """Run a command to its end, its output on this terminal.

        Raises:
            DemoError: it ended with another exit code than 0.
        """
        say(f"\n$ {shlex.join(command)}")
        code = subprocess.run(_found(command), env=self.environment, check=False).returncode
        if code:
            raise DemoError(f"`{shlex.join(command)}` ended with exit code {code}")

    def secret(self, *command: str) -> str:
        """Run a command and give the last line of its output, which is not shown.

        Raises:
            DemoError: it ended with another exit code than 0.
        """
        say(f"\n$ {shlex.join(command)}")
        ran = subprocess.run(_found(command), env=self.environment, check=False, stdout=subprocess.PIPE, text=True)
        if ran.returncode:
            raise DemoError(f"`{shlex.join(command)}` ended with exit code {ran.returncode}")
        return ran.stdout.splitlines()[-1]

    @contextlib.contextmanager
    def background(self, *command: str, environment: Mapping[str, str] | None = None) -> Iterator[Background]:
        """Run a command in its own process group during the block, its output in a log file."""
        name = Path(command[0]).name
        log = self.logs / f"{name}.log"
        say(f"\n$ {shlex.join(command)} > {log} &")
        with log.open("wb") as output:
            process = subprocess.Popen(
                _found(command),
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Background(process, log)
        finally:
            with stage(f"stop {name}"):
                _stop(process)

    def survivors(self) -> list[int]:
        """The processes of this demo that still run (found in /proc: where there is none, none are found)."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        return found

    def require_none_left(self, patience: float = 15) -> None:
        """Raises: DemoError: processes of the demo outlived it; they are killed first."""
        deadline = time.monotonic() + patience
        while (left := self.survivors()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            raise DemoError(f"{len(left)} processes outlived the demo and were killed: {', '.join(map(str, left))}")


def require_free_port(port: int, what: str) -> None:
    """Raises: DemoError: something listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(f"port {port}, for {what}, is in use: stop what listens there") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Not SIGINT: a shell that starts the demo in the background makes its children deaf to it.
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _found(command: Sequence[str]) -> list[str]:
    """The command with the program of this environment, whether or not it is on the PATH."""
    program = command[0]
    beside = Path(sys.executable).with_name(program)
    return [sys.executable if program == "python" else str(beside) if beside.exists() else program, *command[1:]]
