"""A real registry, a real artifact store and a real Serve, each on ports and folders of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from tests.unit.serve import tiny
from training.registry import CHAMPION, ModelVersion, Registry, client

ROOT = Path(__file__).parents[3]
READY_SECONDS = 180


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def register(uri: str, *, bias: float = 0.0, artifacts: str | None = None) -> ModelVersion:
    """Register the tiny model as ``python -m training register`` does, and make it the champion."""
    mlflow = client(uri, create=True)
    found = mlflow.get_experiment_by_name("parcels")
    experiment = found.experiment_id if found else mlflow.create_experiment("parcels", artifact_location=artifacts)
    run = mlflow.create_run(experiment).info.run_id
    example = {
        name: np.array(values, dtype=object if isinstance(values[0], str) else np.float32)
        for name, values in tiny.columns(tiny.ROWS[:1]).items()
    }
    version = Registry(uri).publish(tiny.NAME, tiny.graph(bias=bias), tiny.contract(), example, run)
    Registry(uri).set_alias(tiny.NAME, CHAMPION, version.version)
    return version


@dataclass
class Store:
    """A registry in SQLite with its artifacts beside it, and one version of the tiny model in it."""

    folder: Path
    bias: float = 0.0
    version: ModelVersion = field(init=False)

    def __post_init__(self) -> None:
        self.version = register(self.uri, bias=self.bias, artifacts=self.artifacts.as_uri())

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def stored(self, name: str) -> Path:
        """Where the store keeps this file of the version."""
        return next(path for path in self.artifacts.rglob(Path(name).name) if str(path).endswith(name))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("registry"))


def write_settings(folder: Path, uri: str, **sections: object) -> Path:
    """Settings that serve the tiny model on free ports."""
    document: dict[str, object] = {
        "http": {"port": free_port(), "max_body_bytes": 100_000},
        "dashboard": {"port": free_port()},
        "registry": {"uri": uri, "cache": str(folder / "cache")},
        "ingress": {"cpus": 0.5},
        "models": {tiny.NAME: {"max_rows": 1000}},
    }
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(document | sections), encoding="utf-8")
    return file


@dataclass
class Served:
    """A running ``serve``: its process, its output and its address."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    started: float
    settings: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to the first 200 of the ready endpoint."""
        while time.monotonic() - self.started < READY_SECONDS:
            if self.process.poll() is not None:
                pytest.fail(f"serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/v2/health/ready", timeout=2).status_code == 200:
                    return time.monotonic() - self.started
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        pytest.fail(f"not ready after {READY_SECONDS} s:\n{self.log.read_text()}")

    def stop(self, received: signal.Signals) -> float:
        """Send a signal to the process alone; seconds until it is gone."""
        started = time.monotonic()
        self.process.send_signal(received)
        self.process.wait(60)
        return time.monotonic() - started


Command = tuple[str, ...]
RAY_COMMAND: Command = (str(Path(sys.executable).with_name("serve")), "run", "serve.config")
OUR_COMMAND: Command = (sys.executable, "-m", "serve", "run")
Start = Callable[[Path, Command], Served]


def environment(settings: Path) -> dict[str, str]:
    return os.environ | {"SERVE_SETTINGS": str(settings), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a serve command for a settings file; whatever still runs at the end is stopped."""
    running: list[Served] = []

    def begin(settings: Path, command: Command) -> Served:
        log = tmp_path_factory.mktemp("log") / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        port = yaml.safe_load(settings.read_text())["http"]["port"]
        served = Served(process, log, f"http://127.0.0.1:{port}", time.monotonic(), settings)
        running.append(served)
        return served

    yield begin
    for served in running:
        if served.process.poll() is None:
            served.stop(signal.SIGTERM)
