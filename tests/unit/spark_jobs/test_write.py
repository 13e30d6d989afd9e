"""An output folder is replaced whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_jobs.contract import FILE_NAME
from spark_jobs.errors import OutputRefused
from spark_jobs.write import replacing


def fill(folder: Path, text: str) -> None:
    (folder / "view").mkdir()
    (folder / "view" / "part.parquet").write_text(text)
    (folder / FILE_NAME).write_text(text)


def run_into(out: Path, failure: type[BaseException]) -> None:
    with replacing(out) as made:
        fill(made, "half")
        raise failure


def test_the_folder_appears_when_the_job_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with replacing(out) as made:
        fill(made, "new")
        assert not out.exists()
    assert (out / "view" / "part.parquet").read_text() == "new"
    assert list(out.parent.iterdir()) == [out]


def test_others_may_read_the_folder(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as made:
        fill(made, "new")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with replacing(out) as made:
        fill(made, "new")
    assert (out / FILE_NAME).read_text() == "new"


def test_an_earlier_run_is_replaced_and_none_of_it_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    (out / "quarantine").mkdir()
    with replacing(out) as made:
        fill(made, "new")
        assert (out / FILE_NAME).read_text() == "old"
    assert sorted(path.name for path in out.iterdir()) == [FILE_NAME, "view"]
    assert (out / FILE_NAME).read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_job_that_fails_leaves_the_earlier_run_as_it_was(tmp_path: Path, failure: type[BaseException]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    with pytest.raises(failure):
        run_into(out, failure)
    assert (out / FILE_NAME).read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_first_job_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run_into(tmp_path / "out", RuntimeError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [("notes.txt",), (FILE_NAME, "model.onnx")])
def test_a_folder_with_files_that_no_job_wrote_is_refused_and_kept(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(OutputRefused), replacing(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with replacing(tmp_path / "out") as made:
        fill(made, "new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / FILE_NAME).read_text() == "new"
