"""Only what was registered is served: a copy is checked byte by byte before anything loads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serve.releases import verify
from serve.releases.verify import (
    CacheUnusable,
    DigestMismatch,
    FileMissing,
    GraphMismatch,
    GraphUnusable,
    VerificationError,
    fetch,
)
from spark_jobs.contract import ContractError
from tests.unit.serve import tiny
from training.registry import CONTRACT_FILE, MODEL_FILE, ModelVersion, Registry, RegistryUnreachable, digest_of


class FolderRegistry(Registry):
    """A registry whose store is a folder; it counts how often it is asked."""

    def __init__(self, store: Path) -> None:
        super().__init__(f"sqlite:///{store / 'unused.db'}")
        self.store = store
        self.downloads = 0

    def download(self, version: ModelVersion, folder: Path) -> Path:
        self.downloads += 1
        shutil.copytree(self.store, folder)
        return folder


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    store = tmp_path / "store"
    tiny.save(store)
    (store / "extra_files").mkdir()
    (store / "contract.json").rename(store / CONTRACT_FILE)
    (store / "MLmodel").write_text("flavors: {}")
    return FolderRegistry(store)


def version_of(registry: FolderRegistry) -> ModelVersion:
    """The version as it was registered: the digests of what the store holds now."""
    return ModelVersion(
        tiny.NAME, "3", "run", digest_of(registry.store / MODEL_FILE), digest_of(registry.store / CONTRACT_FILE)
    )


def flip(file: Path, position: int = 100) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(bytes(content))


def left_behind(cache: Path) -> list[str]:
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()] if cache.exists() else []


def test_a_version_is_fetched_once_and_the_cache_holds_the_verified_files_alone(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    version = version_of(registry)
    first = fetch(registry, version, tmp_path / "cache")
    again = fetch(registry, version, tmp_path / "cache")
    assert registry.downloads == 1
    assert first == again
    assert first.contract.digest == tiny.contract().digest
    folder = f"{tiny.NAME}/3-{version.model_digest[:12]}"
    assert sorted(left_behind(tmp_path / "cache")) == [f"{folder}/contract.json", f"{folder}/model.onnx"]


@pytest.mark.parametrize("name", [MODEL_FILE, CONTRACT_FILE])
def test_a_flipped_byte_in_the_store_is_refused_and_leaves_nothing(
    registry: FolderRegistry, tmp_path: Path, name: str
) -> None:
    version = version_of(registry)
    flip(registry.store / name)
    with pytest.raises(DigestMismatch, match=f"{Path(name).name} in the registry's store is not what was registered"):
        fetch(registry, version, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["model.onnx", "contract.json"])
def test_a_flipped_byte_in_the_cache_is_noticed_and_fetched_anew(
    registry: FolderRegistry, tmp_path: Path, name: str
) -> None:
    version = version_of(registry)
    flip(fetch(registry, version, tmp_path / "cache").folder / name)
    again = fetch(registry, version, tmp_path / "cache")
    assert registry.downloads == 2
    assert digest_of(again.model) == version.model_digest


def test_a_flipped_byte_in_the_cache_is_refused_when_the_registry_does_not_answer(
    registry: FolderRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = version_of(registry)
    flip(fetch(registry, version, tmp_path / "cache").model)

    def down(*_: object) -> Path:
        raise RegistryUnreachable("down")

    monkeypatch.setattr(registry, "download", down)
    with pytest.raises(RegistryUnreachable):
        fetch(registry, version, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize("name", [MODEL_FILE, CONTRACT_FILE])
def test_a_missing_file_is_refused(registry: FolderRegistry, tmp_path: Path, name: str) -> None:
    version = version_of(registry)
    (registry.store / name).unlink()
    with pytest.raises(FileMissing, match=f"no file {name}"):
        fetch(registry, version, tmp_path / "cache")


def test_a_version_whose_digests_were_registered_wrong_is_refused(registry: FolderRegistry, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        fetch(registry, replace(version_of(registry), contract_digest="0" * 64), tmp_path / "cache")


def test_a_contract_that_was_edited_and_registered_again_is_refused_by_its_own_digest(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    file = registry.store / CONTRACT_FILE
    file.write_text(file.read_text().replace('"grain": "one parcel"', '"grain": "two parcels"'))
    with pytest.raises(ContractError, match="changed after it was written"):
        fetch(registry, version_of(registry), tmp_path / "cache")


def renamed(model: onnx.ModelProto) -> None:
    model.graph.input[2].name = "mass"
    for node in model.graph.node:
        node.input[:] = ["mass" if name == "weight" else name for name in node.input]


def widened(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.shape.dim.add().dim_value = 1


def added(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("colour", TensorProto.FLOAT, ["N"]))


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def outside_in_a_node(model: onnx.ModelProto) -> None:
    tensor = onnx.numpy_helper.from_array(np.array([1.0], dtype=np.float32), "hidden")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def broken(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "NoSuchOperator"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (renamed, GraphMismatch, "input weight is not there, the contract's feature is float of rank 1"),
        (widened, GraphMismatch, "input hour is float of rank 2"),
        (added, GraphMismatch, "input colour is float of rank 1, the contract's feature is not there"),
        (outside, GraphUnusable, "keeps tenth in another file"),
        (outside_in_a_node, GraphUnusable, "keeps hidden in another file"),
        (broken, GraphUnusable, "not a valid ONNX model"),
    ],
)
def test_a_graph_that_does_not_fit_its_contract_or_itself_is_refused_even_if_registered(
    registry: FolderRegistry,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], None],
    kind: type[VerificationError],
    message: str,
) -> None:
    model = tiny.graph()
    change(model)
    (registry.store / MODEL_FILE).write_bytes(model.SerializeToString())
    with pytest.raises(kind, match=message):
        fetch(registry, version_of(registry), tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_what_is_no_onnx_at_all_is_refused(registry: FolderRegistry, tmp_path: Path) -> None:
    (registry.store / MODEL_FILE).write_bytes(b"\x80\x04pickle")
    with pytest.raises(GraphUnusable, match="not a valid ONNX model"):
        fetch(registry, version_of(registry), tmp_path / "cache")


def test_a_cache_that_can_t_be_written_is_named(registry: FolderRegistry, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheUnusable, match="cache"):
        fetch(registry, version_of(registry), tmp_path / "cache")


def test_every_error_of_verification_is_drawn_at_the_top_of_the_module() -> None:
    for kind in (VerificationError, *VerificationError.__subclasses__(), CacheUnusable):
        assert kind.__name__ in (verify.__doc__ or "")
