"""``python -m infra check``: what it says, and with which code it ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest

from infra.check import command
from infra.check.record import record
from infra.check.tool import Missing, Terraform
from tests.unit.infra.check.good import ACCESS, GOOD, SETTINGS, Parts, configure, program

MISSPELT = {**ACCESS, "Statement": [{**ACCESS["Statement"][0], "Action": ["dynamodb:FetchItem"]}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack that is held against one rule of the policy pack."""
    (tmp_path / "Pulumi.dev.yaml").write_text(SETTINGS)
    configure(tmp_path, {"all": "disabled", "fargate-sizes": "mandatory"})
    return tmp_path


def check(folder: Path, *arguments: str, parts: Parts = GOOD) -> int:
    return command.main(["--stack", "dev", "--folder", str(folder), *arguments], program(parts), {})


def test_a_good_stack_ends_with_0_and_a_table_of_what_is_in_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder) == 0
    said = capsys.readouterr().out
    assert "LaunchTemplate" in said
    assert "0 findings in" in said


def test_components_that_are_called_alike_are_a_line_each() -> None:
    class Part(pulumi.ComponentResource):
        def __init__(self, package: str) -> None:
            super().__init__(f"ml:{package}:Part", "it")
            aws.sqs.Queue(package, opts=pulumi.ResourceOptions(parent=self))

    def run() -> None:
        Part("aws")
        Part("azure")

    found = record(run, project="ml-training-deployment", stack="dev", config={"aws:region": "us-east-1"})
    assert list(command.table(found)) == ["  Part it     1  Queue", "  Part it     1  Queue", "  all         2"]


def test_a_finding_ends_with_1_and_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, parts=dataclasses.replace(GOOD, access=MISSPELT)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("[policy_parliament]")]
    assert lines[-1].startswith("1 findings in")


def test_what_the_policy_pack_refuses_stands_below_its_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = dataclasses.replace(GOOD, memory="512")
    assert check(folder, parts=small) == 1
    *_, rule, refused, last = capsys.readouterr().out.splitlines()
    assert rule.startswith("fargate-sizes (")
    assert refused.startswith("  aws:ecs/taskDefinition:TaskDefinition ")
    assert "memory: expected" in refused
    assert last.startswith("1 findings in")


def test_advice_is_told_and_refuses_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(folder, {"all": "disabled", "fargate-sizes": "advisory"})
    assert check(folder, parts=dataclasses.replace(GOOD, memory="512")) == 0
    assert "advice: fargate-sizes (" in capsys.readouterr().out


def test_the_cost_is_that_of_the_stack_s_own_assumptions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {"enforcementLevel": "advisory", "usage": {"requests": 12345}}
    configure(folder, {"all": "disabled", "monthly-cost-within-budget": own})
    assert check(folder) == 0
    assert "requests 12,345, " in capsys.readouterr().out


@pytest.mark.parametrize("level", ["advisory", "disabled"])
def test_assumptions_that_nobody_makes_are_a_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    own = {"enforcementLevel": level, "usage": {"requests": -1}}
    configure(folder, {"all": "disabled", "monthly-cost-within-budget": own})
    assert check(folder) == 2
    error = capsys.readouterr().err
    assert "the config of monthly-cost-within-budget: usage" in error
    assert error.count("\n") == 1


def test_a_planted_secret_in_the_open_is_a_finding_that_does_not_say_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder, parts=dataclasses.replace(GOOD, secret_in_environment=True)) == 1
    said = capsys.readouterr().out
    assert "[canaries]" in said
    assert "https://example.com/canary" not in said


def test_what_was_not_checked_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(folder)
    assert "not checked: plan and apply: ask for them with --plan or --apply" in capsys.readouterr().out


def test_without_terraform_the_rest_runs_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert isinstance(Terraform.found(), Missing)
    assert check(folder, "--apply") == 0
    assert "not checked: plan and apply: terraform is not on the PATH" in capsys.readouterr().out


def test_without_a_rule_s_package_the_rest_runs_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.check.rules.NEEDS", {"policy_parliament": ("absent_package",)})
    assert check(folder) == 0
    assert "not checked: the rule policy_parliament: absent_package is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stack", "other"], "Pulumi.other.yaml: cannot be read"),
        (["--stack", "dev", "--sope"], "unrecognized arguments: --sope"),
        ([], "--stack"),
    ],
)
def test_a_mistake_of_the_user_is_one_line_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert command.main([*arguments, "--folder", str(folder)], program(), {}) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_files_are_kept_in_a_new_folder_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, "--keep", str(folder)) == 2
    assert "is not empty" in capsys.readouterr().err
    file = folder / "notes.txt"
    file.write_text("mine")
    for keep in (file, file / "below"):
        assert check(folder, "--keep", str(keep)) == 2
        assert f"--keep {keep}: a file is there: name a new folder" in capsys.readouterr().err
