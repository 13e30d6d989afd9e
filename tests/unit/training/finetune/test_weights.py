"""A folder is looked at for its weights before it is registered or trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.unit.training.finetune.tokenizers import tokenizer
from tests.unit.training.refused import refusal
from training.finetune.language_model import require_weights

CONFIG = {"config.json": b"{}"}
INDEX = {"model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors"}}'}
WEIGHTS = safetensors.torch.save({"a": torch.zeros(2)})
LFS_POINTER = {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 269\n"}


def model(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tokenizer().save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (CONFIG, "has no weights: expected .safetensors files"),
        ({**CONFIG, **LFS_POINTER}, "has no weights in model.safetensors that can be read"),
        ({**CONFIG, **INDEX}, "its index names 1 file(s) that are not there, first model-1.safetensors"),
        ({**CONFIG, "model.safetensors.index.json": b"[]"}, "has no index of its weights that can be read"),
        (LFS_POINTER, "has no config.json that can be read"),
    ],
    ids=["none", "Git LFS's texts", "shards", "an index", "no configuration"],
)
def test_a_model_without_its_weights_is_not_imported(
    files: dict[str, bytes],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = model(tmp_path / "made", files)
    assert says in refusal(capsys, "import-model", "weightless", "--folder", str(folder))
    assert not (tmp_path / "mlflow.db").exists()


def test_weights_may_be_in_one_file_or_in_those_of_an_index(tmp_path: Path) -> None:
    require_weights(model(tmp_path / "whole", {**CONFIG, "model.safetensors": WEIGHTS}))
    require_weights(model(tmp_path / "shards", {**CONFIG, **INDEX, "model-1.safetensors": WEIGHTS}))
