"""``python -m infra fit``, and the check's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.check.fit_command import main
from tests.unit.policies.fit.configs import LLAMA, PUBLISHED


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(LLAMA)
    return file


def test_what_a_model_needs_is_told_with_the_instances_that_have_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model-config", str(config)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[0] != " ")
    assert lines["model"] == "llama, 8.03 billion parameters, bfloat16"
    assert lines["weights"] == "14.96 GiB"
    assert lines["KV"].split()[1] == "16.00"
    assert lines["smallest"] == "g6e.xlarge, compute capability 8.9"
    assert lines["settings"] == "gpus: 1, needs: {memory_gib: 4, gpu_memory_gib: 37.2}"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("--instance", "g6.xlarge"),
            1,
            "fits not   g6.xlarge has 1 × L4 of 22.4 GiB, 8.9; smallest change: g6e.xlarge",
        ),
        (("--instance", "g6.xlarge", "--dtype", "int4", "--sequences", "4"), 0, "fits       g6.xlarge"),
        (("--sequences", "100000"), 1, "no instance type of the table"),
        (("--instance", "p5.48xlarge", "--sequences", "100000"), 1, "nor does any other type"),
    ],
)
def test_one_instance_is_held_alone(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert main(["--model-config", str(config), *arguments]) == code
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model-config", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--instance", "m7i.large"), "--instance is m7i.large, expected a type of g4dn, g5, g6"),
        (("--context", "200000"), "--context is 200000, expected at most the model's 131072"),
        (("--context", "0"), "expected a whole number above 0, got 0"),
        (("--dtype", "int2"), "int2"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert main(["--model-config", str(config), *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_model_of_no_known_architecture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text(PUBLISHED["SmolLM2-135M"][0].replace('"llama"', '"mamba"'))
    assert main(["--model-config", str(file)]) == 2
    assert "model_type is mamba, expected one of llama" in capsys.readouterr().err
