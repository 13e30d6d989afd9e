"""Mistakes on the command line: one line on standard error, exit code 2, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import synthetic
from tests.unit.spark_jobs import aws
from tests.unit.training.refused import refusal


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--epochs", "0"], "not a recipe: epochs: Input should be greater than or equal to 1"),
        (["--dropout", "1"], "not a recipe: dropout: Input should be less than 1"),
        (["--workers", "0"], "can't train with that: workers: Input should be greater than or equal to 1"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    ],
)
def test_an_impossible_flag_is_named(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    synthetic.write_view(tmp_path / "view", 100)
    assert says in refusal(capsys, "train", "returns", "--view", str(tmp_path / "view"), *flags)


def test_a_name_that_no_registry_or_url_would_take_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "train", "My/Model", "--view", "nowhere")
    assert line.startswith("error: 'My/Model' can't name a model")


@pytest.mark.parametrize("command", [("register", "--view"), ("encoder", "--folder")])
@pytest.mark.parametrize("alias", ["latest", "v1", "a b"])
def test_an_alias_that_no_registry_would_take_is_refused(
    command: tuple[str, str], alias: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, flag = command
    assert f"--alias {alias!r}: expected" in refusal(capsys, name, "returns", flag, "nowhere", "--alias", alias)


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required" in refusal(capsys)


def test_a_view_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--view" in refusal(capsys, "train", "returns")


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (["execution"], "--tag 'execution': expected KEY=VALUE"),
        (["=42"], "--tag '=42': expected KEY=VALUE"),
        (["execution="], "--tag 'execution=': expected KEY=VALUE"),
        (["a key=42"], "--tag 'a key=42': expected KEY=VALUE"),
        (["execution=" + "x" * 5001], "the value with 1 to 5000 characters"),
        (["mlflow.user=me"], "--tag mlflow.user: the run's own tags start with mlflow. or contract.: take another"),
        (["contract.digest=0"], "--tag contract.digest: the run's own tags"),
        (["execution=1", "execution=2"], "--tag execution is given twice"),
    ],
)
def test_a_tag_that_is_none_is_named(tags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [word for tag in tags for word in ("--tag", tag)]
    line = refusal(capsys, "train", "returns", "--view", "nowhere", *flags)
    assert line.startswith("error: --tag")
    assert says in line


@pytest.mark.parametrize("command", ["train", "register"])
def test_a_view_in_s3_that_is_not_there_is_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with aws.running():
        line = refusal(capsys, command, "returns", "--view", f"s3://{aws.BUCKET}/views/orders")
    assert line.startswith(f"error: s3://{aws.BUCKET}/views/orders: no object is there")
