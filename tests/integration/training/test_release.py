"""A version is copied to where a function takes it from, and is the one that was registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.lambdas.model import release_of, source_at, verified
from tests.integration.serve.conftest import Store, register
from tests.unit.serve import tiny
from training.__main__ import main
from training.registry import CHAMPION, CONTRACT_FILE, MODEL_FILE, ModelVersion, Registry, digest_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("registry"))


@pytest.fixture(autouse=True)
def _of_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)


def another(store: Store) -> ModelVersion:
    """A version to spoil, beside the one that the alias names."""
    version = register(store.uri, bias=1.0)
    Registry(store.uri).set_alias(tiny.NAME, CHAMPION, store.version.version)
    return version


def no_s3() -> None:
    raise AssertionError("a folder needs no S3")


def test_a_released_version_is_verified_by_the_function_that_takes_it(store: Store, tmp_path: Path) -> None:
    assert main(["release", tiny.NAME, "--to", str(tmp_path / "models")]) == 0
    folder = tmp_path / "models" / tiny.NAME / store.version.version
    document = json.loads((folder / "release.json").read_text())
    assert document == {
        "name": tiny.NAME,
        "version": store.version.version,
        "model_digest": digest_of(folder / "model.onnx"),
        "contract_digest": digest_of(folder / "contract.json"),
    }
    source = source_at(str(folder), no_s3)
    found = verified(source, release_of(source, {}, tmp_path / "scratch"), tmp_path / "cache")
    assert found.version.model_digest == store.version.model_digest


def test_the_version_of_a_run_is_released_by_the_run(store: Store, tmp_path: Path) -> None:
    assert main(["release", tiny.NAME, "--run", store.version.run_id, "--to", str(tmp_path)]) == 0
    assert (tmp_path / tiny.NAME / store.version.version / "release.json").is_file()


def test_what_was_never_registered_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", tiny.NAME, "--run", "0" * 32, "--to", str(tmp_path)]) == 2
    assert "no version of parcels was registered of run 0000" in capsys.readouterr().err


def test_a_version_whose_file_is_gone_is_refused_in_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled = another(store)
    store.stored(CONTRACT_FILE, spoiled.run_id).unlink()
    assert main(["release", tiny.NAME, "--run", spoiled.run_id, "--to", str(tmp_path / "models")]) == 2
    assert f"parcels version {spoiled.version} has no file {CONTRACT_FILE}" in capsys.readouterr().err


def test_a_folder_that_can_t_be_written_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "models"
    file.write_text("a file of mine")
    assert main(["release", tiny.NAME, "--to", str(file)]) == 2
    assert f"error: can't write {file}/{tiny.NAME}/" in capsys.readouterr().err


def test_a_version_whose_bytes_were_changed_is_not_released(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = another(store)
    file = store.stored(MODEL_FILE, changed.run_id)
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert main(["release", tiny.NAME, "--run", changed.run_id, "--to", str(tmp_path / "models")]) == 2
    assert "model.onnx has other bytes" in capsys.readouterr().err
    assert not list((tmp_path / "models").rglob("release.json"))
