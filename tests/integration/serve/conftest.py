"""A real registry, a real artifact store and a real Serve, each on ports and folders of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import onnx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.ports import free_port
from serve import ports
from tests.integration.serve import processes
from tests.unit.serve import tiny
from training.registry import CHAMPION, ModelVersion, Registry, client

ROOT = Path(__file__).parents[3]
READY_SECONDS = 400
STOPPED_SECONDS = 20
"""Within which Serve ends. Ray's own command takes half a minute: its controller has ended and never answers."""

patient = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
"""Asks on a connection of its own each time. httpx by itself gives up after 5 s, for which a busy machine may stall."""


def register(
    uri: str, *, bias: float = 0.0, artifacts: str | None = None, graph: onnx.ModelProto | None = None
) -> ModelVersion:
    """Register the tiny model, or another of its inputs, as ``python -m training register`` does, as the champion."""
    mlflow = client(uri, create=True)
    found = mlflow.get_experiment_by_name("parcels")
    experiment = found.experiment_id if found else mlflow.create_experiment("parcels", artifact_location=artifacts)
    run = mlflow.create_run(experiment).info.run_id
    example = {
        name: np.array(values, dtype=object if isinstance(values[0], str) else np.float32)
        for name, values in tiny.columns(tiny.ROWS[:1]).items()
    }
    version = Registry(uri).publish(tiny.NAME, graph or tiny.graph(bias=bias), tiny.contract(), example, run)
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

    def stored(self, name: str, run: str = "") -> Path:
        """Where the store keeps this file of the version, or of that of another run."""
        found = (path for path in self.artifacts.rglob(Path(name).name) if str(path).endswith(name))
        return next(path for path in found if any(run in model.read_text() for model in _described(path)))


def _described(path: Path) -> list[Path]:
    """The ``MLmodel`` of the model that a stored file belongs to: it names its run."""
    return [folder / "MLmodel" for folder in path.parents if (folder / "MLmodel").is_file()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("registry"))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _is_in_a_block(address: str) -> bool:
    """Whether it is one of the ports that Serve gives to its replicas, and none of those that Ray takes for itself."""
    return ports.FIRST <= _port(address) < ports.LAST + ports.SIZE


def write_settings(folder: Path, uri: str, **sections: object) -> Path:
    """Settings that serve the tiny model on free ports, to everybody."""
    document: dict[str, object] = {
        "access": {"required": False, "keys": f"sqlite:///{folder / 'keys.db'}"},
        "access_log": {"folder": str(folder / "logs"), "sample": 1.0},
        "http": {"port": free_port(), "max_body_bytes": 100_000},
        "dashboard": {"port": free_port()},
        "registry": {"uri": uri, "cache": str(folder / "cache")},
        "ingress": {"cpus": 0.5},
        "models": {tiny.NAME: {"max_rows": 1000}},
    }
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(document | sections), encoding="utf-8")
    return file


def keys(settings: Path, *arguments: str) -> list[str]:
    """The lines that ``python -m serve keys`` prints."""
    command = [sys.executable, "-m", "serve", "keys", *arguments, "--settings", str(settings)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


class Sample(NamedTuple):
    """One line of Prometheus's exposition."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass
class Served:
    """A running ``serve``: its process, its output and its address."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    started: float
    settings: Path
    authority: ssl.SSLContext | bool = True

    @property
    def session(self) -> Path:
        """The folder of its Ray, with the logs of all its processes."""
        words = (word for pid in processes.family(self.process.pid) for word in processes.command(pid))
        return Path(next(word for word in words if word.startswith("--session-dir=")).partition("=")[2])

    def replicas(self, deployment: str) -> dict[int, str]:
        """The processes of a deployment's replicas, and the address of each one's HTTP server, once it has one."""
        title = f"ray::ServeReplica:default:{deployment}"
        pids = processes.titled(self.process.pid, title)
        return {pid: min(filter(_is_in_a_block, processes.listening(pid)), key=_port, default="") for pid in pids}

    def all_replicas(self, deployment: str, number: int) -> dict[int, str]:
        """What :meth:`replicas` finds once there are so many. One that is at work can't be told at every moment."""
        until = time.monotonic() + READY_SECONDS
        while len(found := self.replicas(deployment)) != number:
            assert time.monotonic() < until, f"{len(found)} replicas of {deployment}, not {number}"
            time.sleep(0.1)
        return found

    def doors(self, number: int = 2) -> list[str]:
        """The addresses of the ingress replicas, past HAProxy, once so many listen."""
        until = time.monotonic() + READY_SECONDS
        while not all(found := list(self.all_replicas("ingress", number).values())):
            assert time.monotonic() < until, found
            time.sleep(0.1)
        return [f"http://{address}" for address in found]

    def metrics(self) -> list[Sample]:
        """The metrics of the ingress, from where Ray tells Prometheus that they are."""
        discovery = json.loads((self.session / "prom_metrics_service_discovery.json").read_text())
        found, answered = [], False
        for address in {address for entry in discovery for address in entry["targets"]}:
            try:
                text = patient.get(f"http://{address}/metrics").text
            except httpx.HTTPError:
                # Not all that is named there answers at every moment; Prometheus goes on to the next one as well.
                continue
            answered = True
            for family in text_string_to_metric_families(text):
                found += [Sample(*sample[:3]) for sample in family.samples if sample.name.startswith("ray_ingress_")]
        assert answered, f"nothing answers of {discovery}"
        return found

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to the first 200 of the ready endpoint."""
        while time.monotonic() - self.started < READY_SECONDS:
            if self.process.poll() is not None:
                pytest.fail(f"serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/v2/health/ready", timeout=2, verify=self.authority).status_code == 200:
                    return time.monotonic() - self.started
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        pytest.fail(f"not ready after {READY_SECONDS} s:\n{self.log.read_text()}")

    def stop(self, received: signal.Signals) -> float:
        """Send a signal to the process alone; seconds until it is gone."""
        started = time.monotonic()
        self.process.send_signal(received)
        self.process.wait(120)
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
        http = yaml.safe_load(settings.read_text())["http"]
        tls = http.get("tls")
        authority = ssl.create_default_context(cafile=tls["certificate"]) if tls else True
        url = f"{'https' if tls else 'http'}://127.0.0.1:{http['port']}"
        served = Served(process, log, url, time.monotonic(), settings, authority)
        running.append(served)
        return served

    yield begin
    for served in running:
        if served.process.poll() is None:
            served.stop(signal.SIGTERM)
