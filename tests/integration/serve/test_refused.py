"""What ends ``serve run serve.config`` before it starts: one line, exit code 2, no traceback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.integration.serve.conftest import RAY_COMMAND, ROOT, Command, Store, environment, write_settings
from tests.unit.serve import tiny
from training.registry import CONTRACT_FILE, MODEL_FILE, Registry

pytestmark = pytest.mark.integration

RUN: Command = (sys.executable, "-m", "serve", "run")
CHECK: Command = (sys.executable, "-m", "serve", "check")


@dataclass
class Ended:
    code: int
    output: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("error: ")]


def run(command: Command, settings: Path) -> Ended:
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    return Ended(ran.returncode, ran.stdout)


def refused(command: Command, settings: Path, *parts: str) -> None:
    ended = run(command, settings)
    assert ended.code == 2, ended.output
    assert len(ended.errors) == 1, ended.output
    assert "Traceback" not in ended.output
    for part in parts:
        assert part in ended.errors[0]


@pytest.mark.parametrize("command", [RAY_COMMAND, CHECK], ids=["run", "check"])
def test_broken_settings(command: Command, tmp_path: Path) -> None:
    settings = tmp_path / "serve.yaml"
    settings.write_text("models: {parcels: {runtime: tensorflow}}\n")
    refused(command, settings, str(settings), "models.parcels.runtime", "onnx", "'tensorflow'")


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    refused(RAY_COMMAND, tmp_path / "none.yaml", "none.yaml", "cannot be read")


@pytest.mark.parametrize("command", [RAY_COMMAND, CHECK], ids=["run", "check"])
def test_a_registry_that_does_not_answer(command: Command, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    refused(command, write_settings(tmp_path, uri), f"the registry at {uri} does not answer")


def test_a_model_that_is_not_registered(store: Store, tmp_path: Path) -> None:
    refused(RAY_COMMAND, write_settings(tmp_path, store.uri, models={"letters": {}}), "letters@champion")


def test_an_alias_that_names_no_version(store: Store, tmp_path: Path) -> None:
    settings = write_settings(tmp_path, store.uri, models={tiny.NAME: {"alias": "nobody"}})
    refused(CHECK, settings, "parcels@nobody")


@pytest.mark.parametrize("name", [MODEL_FILE, CONTRACT_FILE])
@pytest.mark.parametrize("command", [RAY_COMMAND, CHECK], ids=["run", "check"])
def test_a_byte_flipped_in_the_store(command: Command, name: str, store: Store, tmp_path: Path) -> None:
    file = store.stored(name)
    kept = tmp_path / "kept"
    shutil.copy(file, kept)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    try:
        settings = write_settings(tmp_path, store.uri)
        refused(command, settings, f"{Path(name).name} in the registry's store is not what was registered")
        assert list((tmp_path / "cache" / tiny.NAME).iterdir()) == []
    finally:
        shutil.copy(kept, file)


def test_check_prints_a_line_for_each_model_and_starts_nothing(store: Store, tmp_path: Path) -> None:
    ended = run(CHECK, write_settings(tmp_path, store.uri))
    assert ended.code == 0, ended.output
    assert f"{tiny.NAME}  version 1  4 features" in ended.output
    version = Registry(store.uri).resolve(tiny.NAME, "champion")
    assert (tmp_path / "cache" / tiny.NAME / f"1-{version.model_digest[:12]}" / "model.onnx").is_file()


def test_more_cpus_than_there_are(store: Store, tmp_path: Path) -> None:
    settings = write_settings(tmp_path, store.uri, ingress={"cpus": 1000})
    refused(RAY_COMMAND, settings, "the replicas need 1000 CPUs (ingress 1 × 1000), Ray has")


def test_an_ingress_that_does_not_come_up(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "0.01")
    settings = write_settings(tmp_path, store.uri)
    refused(RUN, settings, "Serve did not start on this machine: ", "its logs are in ", "/logs/serve")
