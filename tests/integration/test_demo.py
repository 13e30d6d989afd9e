"""``make demo`` as a new user runs it, and what the README shows of it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from demo.__main__ import FOLDER, MLFLOW_PORT, main
from demo.processes import MARK, DemoError, Processes
from spark_jobs.contract import read_contract
from tests import shell
from tests.documentation import examples, shape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2000)]

ROOT = Path(__file__).parents[2]
SECONDS = 1400


@dataclass(frozen=True)
class Demonstrated:
    code: int
    output: str
    folder: Path


@pytest.fixture(scope="module")
def demonstrated() -> Demonstrated:
    found = shell.make("demo", SECONDS)
    return Demonstrated(found.returncode, found.stdout, ROOT / FOLDER)


def test_the_demo_ends_well(demonstrated: Demonstrated) -> None:
    assert demonstrated.code == 0, demonstrated.output
    assert "Traceback" not in demonstrated.output


def test_the_first_version_of_a_name_is_not_said_to_exist_already(demonstrated: Demonstrated) -> None:
    assert "flight-delay version 1 @champion" in demonstrated.output
    assert "already exists" not in demonstrated.output


def test_each_step_is_a_command_that_can_be_seen(demonstrated: Demonstrated) -> None:
    commands = [line for line in demonstrated.output.splitlines() if line.startswith("$ ")]
    programs = [" ".join(command.split()[1:4]) for command in commands]
    assert programs == [
        "mlflow server --host",
        "python -m spark_jobs",
        "python -m training",
        "python -m training",
        "serve run serve.config",
        "python -m serve",
        "python -m demo",
        "python -m demo",
    ]


def test_the_view_holds_every_labelled_row(demonstrated: Demonstrated) -> None:
    contract = read_contract(demonstrated.folder / "flights")
    assert sum(split.rows for split in contract.splits.values()) == 327_346


def test_ten_answers_stand_beside_what_happened(demonstrated: Demonstrated) -> None:
    row = re.compile(r"^\w+-\w{3} .* 0\.\d{3}  (late by \d+ min|on time \([+-]\d+ min\)) +1 +[\d.]+ ms$", re.MULTILINE)
    assert len(row.findall(demonstrated.output)) == 10
    assert "all 10 answered by version 1 (@champion), as its verified graph does here" in demonstrated.output


def test_torch_onnx_runtime_and_http_agree_on_a_thousand_rows(demonstrated: Demonstrated) -> None:
    assert len(re.findall(r"largest difference \d\.\de[-+]\d+ on 1,000 rows", demonstrated.output)) == 3


def test_nothing_that_the_demo_started_is_left(demonstrated: Demonstrated) -> None:
    assert demonstrated.code == 0
    settings = yaml.safe_load((ROOT / "serve.yaml").read_text())
    for port in (settings["http"]["port"], settings["dashboard"]["port"], MLFLOW_PORT):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"


def test_the_readme_shows_what_the_demo_prints(demonstrated: Demonstrated) -> None:
    example = next(example for example in examples(ROOT / "README.md") if example.program == "make demo")
    shown = [shape(line) for line in example.output.splitlines() if shape(line) not in ("", "…")]
    printed = {shape(line) for line in demonstrated.output.splitlines()}
    assert len(shown) > 20
    assert [line for line in shown if line not in printed] == []


def test_a_port_in_use_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        # The demo before has left connections of this port that are only just closed.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", MLFLOW_PORT))
        taken.listen()
        assert main([]) == 2
    assert capsys.readouterr().err == f"error: port {MLFLOW_PORT}, for MLflow, is in use: stop what listens there\n"


def test_a_step_that_fails_ends_the_demo(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {})
    with pytest.raises(DemoError, match="`python -c 'raise SystemExit\\(3\\)'` ended with exit code 3"):
        processes.run("python", "-c", "raise SystemExit(3)")


def test_a_background_command_that_ends_early_says_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {})
    with (
        processes.background("python", "-c", "raise SystemExit('no such model')") as started,
        pytest.raises(DemoError, match=r"it ended with exit code 1; the end of .*: no such model"),
    ):
        started.wait_until_ready("http://127.0.0.1:9/never", timeout=60)


def test_a_process_that_outlives_the_demo_is_killed_and_told_of(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {})
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, MARK: processes.mark},
        start_new_session=True,
    )
    try:
        with pytest.raises(DemoError, match=f"1 processes outlived the demo and were killed: {orphan.pid}"):
            processes.require_none_left(patience=0.5)
        assert orphan.wait(60) < 0
    finally:
        orphan.kill()
