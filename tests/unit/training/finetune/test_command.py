"""Mistakes on the command line: one line on standard error, exit code 2, nothing begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.training.refused import refusal
from training.__main__ import main
from training.finetune.loop import Schedule, rate
from training.finetune.recipe import LoraRecipe


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "chat.jsonl"
    file.write_text(
        "".join(
            json.dumps({"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "x"}]})
            + "\n"
            for n in range(4)
        )
    )
    return file


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--rank", "0"], "not a recipe: rank: Input should be greater than or equal to 1"),
        (["--rank", "1024"], "not a recipe: rank: Input should be less than or equal to 512"),
        (["--learning-rate", "0"], "not a recipe: learning_rate: Input should be greater than 0"),
        (["--learning-rate", "nan"], "not a recipe: learning_rate: "),
        (["--steps", "5", "--epochs", "2"], "steps takes the place of epochs: give one of them"),
        (["--held-out-share", "1"], "not a recipe: held_out_share: "),
        (["--workers", "0"], "can't train with that: workers: "),
        (["--learning-rate", "inf"], "not a recipe: learning_rate: "),
        (["--alias", "Latest"], "--alias 'Latest': expected letters"),
        (["--alias", "v1"], "--alias 'v1': expected letters"),
        (["--alias", "a b"], "--alias 'a b': expected letters"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_an_impossible_flag_is_named(
    flags: list[str], says: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refusal(capsys, "finetune", "a", "--model", "nowhere", "--data", str(data), *flags)


@pytest.mark.parametrize("command", ["finetune", "import-model"])
def test_a_name_that_no_registry_would_take_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", "x", "--data", "x"] if command == "finetune" else ["--folder", "x"]
    assert "'My/Model' can't name a model" in refusal(capsys, command, "My/Model", *flags)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("registry:base", "'registry:base': expected registry:NAME@ALIAS or registry:NAME/VERSION"),
        ("registry:base@champion", "no base@champion in the registry"),
        ("registry:base/7", "no registry:base/7 in the registry"),
    ],
)
def test_a_base_model_that_is_not_there_is_named(
    model: str, says: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ("--data", str(data), "--runs", str(tmp_path / "runs"))
    assert says in refusal(capsys, "finetune", "a", "--model", model, *flags)


def test_a_folder_with_pickles_is_not_opened(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"")
    for command in (("finetune", "a", "--data", str(data), "--model"), ("import-model", "a", "--folder")):
        assert "pytorch_model.bin may be code" in refusal(capsys, *command, str(tmp_path / "model"))


def test_a_folder_that_is_no_model_is_named(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for command in (("finetune", "a", "--data", str(data), "--model"), ("import-model", "a", "--folder")):
        assert "has no tokenizer that can be read" in refusal(capsys, *command, str(tmp_path / "model"))


def test_lines_that_cannot_be_used_are_shown_and_nothing_is_begun(
    data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data.write_text(data.read_text() + '{"messages": []}\n')
    assert main(["finetune", "a", "--model", "nowhere", "--data", str(data)]) == 2
    said = capsys.readouterr()
    assert "  line 5: messages: " in said.out
    assert f"error: {data}: 1 of 5 lines can't be used, the first: line 5: " in said.err
    assert not (tmp_path / "mlruns").exists()


def test_what_is_trained_on_is_not_held_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "finetune", "a", "--model", "x", "--data", str(data), "--held-out", str(data))
    assert "4 conversation(s) are in" in line


class TestSchedule:
    def test_steps_are_given_or_follow_from_the_epochs(self) -> None:
        assert Schedule.of(LoraRecipe(epochs=3, batch_size=4), 10) == Schedule(steps=6, of_epoch=2, batch=4)
        assert Schedule.of(LoraRecipe(steps=5, batch_size=4), 10) == Schedule(steps=5, of_epoch=2, batch=4)

    def test_fewer_than_a_batch_are_one(self) -> None:
        assert Schedule.of(LoraRecipe(epochs=3, batch_size=8), 3) == Schedule(steps=3, of_epoch=1, batch=3)

    def test_the_learning_rate_rises_and_falls(self) -> None:
        rates = [rate(step, 20, 0.2) for step in range(20)]
        assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
        assert rates[3:] == sorted(rates[3:], reverse=True)
        assert 0 < rates[-1] < 0.05

    def test_without_a_warm_up_it_begins_at_its_highest(self) -> None:
        assert rate(0, 1, 0) == 1
