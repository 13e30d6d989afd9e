"""The workflows for GitHub: what runs in them exists, may no more than it needs, and is pinned."""

from __future__ import annotations

import base64
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.check.comment import mark

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yaml"))
LONGEST = 120

PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
USES = re.compile(r"^\s*(?:- )?uses: (.*)$", re.MULTILINE)
MAKE = re.compile(r"\bmake +(\S+)")
COMMAND = re.compile(r"python -m (.+)")
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

LATER = {"update": "called by deploy.yaml"}
"""A workflow that another one calls → which."""


@dataclass(frozen=True)
class Job:
    workflow: str
    name: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.workflow}: {self.name}"


def read(file: Path) -> dict[Any, Any]:
    found = yaml.safe_load(file.read_text())
    assert isinstance(found, dict)
    return found


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    """YAML 1.1 reads ``on`` as true."""
    found: dict[str, Any] = workflow[True]
    return found


JOBS = [Job(file.stem, name, job) for file in WORKFLOWS for name, job in read(file)["jobs"].items()]
OWN = [job for job in JOBS if "uses" not in job.content]
"""Those with steps; the others call a workflow."""


def scripts() -> Iterator[tuple[str, str]]:
    """Where → what a shell runs there, with what a matrix puts in."""
    for job in OWN:
        for step in job.content["steps"]:
            if "run" in step:
                for put in _puts(job, step):
                    yield f"{job}", put
    for file in ACTIONS:
        for step in read(file)["runs"]["steps"]:
            if "run" in step:
                yield file.parent.name, step["run"]


def _puts(job: Job, step: dict[str, Any]) -> Iterator[str]:
    """The step once for each value that a variable of it takes from the matrix."""
    matrix = job.content.get("strategy", {}).get("matrix", {})
    variables = {**job.content.get("env", {}), **step.get("env", {})}
    taken: dict[str, list[str]] = {}
    for variable, value in variables.items():
        if key := re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", str(value)):
            own = matrix.get(key[1], [each[key[1]] for each in matrix.get("include", [])])
            if isinstance(own, list):
                taken[variable] = own
    for values in itertools.product(*taken.values()):
        text = step["run"]
        for variable, value in zip(taken, values, strict=True):
            text = text.replace(f'"${variable}"', value).replace(f"${variable}", value)
        yield text


def test_there_is_something_to_examine() -> None:
    assert {file.stem for file in WORKFLOWS} == {"test", "check", "preview", "deploy", "update", "images"}
    assert {file.parent.name for file in ACTIONS} == {"python", "pulumi"}
    assert len(list(scripts())) > len(OWN)


def test_zizmor_finds_nothing() -> None:
    command = ["--offline", "--no-progress", "--quiet", "--persona=auditor", "--strict-collection", "--collect=all"]
    found = subprocess.run(
        [Path(sys.executable).with_name("zizmor"), *command, ROOT / ".github"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_prod_is_updated_where_there_is_no_dev() -> None:
    """GitHub skips a job after one that was skipped, unless its condition asks for a status of its own."""
    condition = next(job.content["if"] for job in JOBS if (job.workflow, job.name) == ("deploy", "prod"))
    assert "!cancelled()" in condition
    assert "needs.dev.result == 'success' || needs.dev.result == 'skipped'" in condition


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_not_ours_is_pinned_by_a_hash_beside_its_version(file: Path) -> None:
    used = USES.findall(file.read_text())
    assert used
    for each in used:
        own = re.fullmatch(r"\./(\S+)", each)
        assert PINNED.fullmatch(each) or (own and (ROOT / own[1]).exists()), each
    assert len(used) == file.read_text().count("uses:")


def test_an_action_has_one_hash_everywhere() -> None:
    used = {each for file in [*WORKFLOWS, *ACTIONS] for each in USES.findall(file.read_text()) if "@" in each}
    assert len(used) == len({each.partition("@")[0] for each in used})


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_secret_is_named_and_no_key_is_asked_for(file: Path) -> None:
    text = file.read_text()
    assert "secrets" not in text
    assert "github.token" not in text or file.stem == "preview"
    assert not re.search(r"access.key|PULUMI_ACCESS_TOKEN|client.secret|PASSPHRASE", text, re.IGNORECASE)
    assert max(map(len, text.splitlines())) <= LONGEST


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_may_nothing_by_itself_and_comes_from_nobody_with_more(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["cancel-in-progress"] in (True, False)
    assert set(triggers(workflow)) <= {"push", "pull_request", "workflow_dispatch", "workflow_call"}
    assert ("workflow_call" in triggers(workflow)) is (file.stem in LATER)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_job_has_permissions_of_its_own_and_an_end(job: Job) -> None:
    granted = job.content["permissions"]
    assert set(granted) <= {"contents", "id-token", "pull-requests"}
    assert granted.get("contents", "read") == "read"
    # A token for a role only where an environment says who gets it, and never beside the right to write here.
    if "id-token" in granted and job in OWN:
        assert job.content["environment"]
        assert "pull-requests" not in granted
    if job in OWN:
        assert job.content["timeout-minutes"]
        assert job.content["runs-on"] == "ubuntu-24.04"


@pytest.mark.parametrize("job", OWN, ids=str)
def test_a_checkout_keeps_no_credentials(job: Job) -> None:
    for step in job.content["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("job", OWN, ids=str)
def test_nothing_is_kept_from_run_to_run_where_there_is_a_role(job: Job) -> None:
    cached = [step for step in job.content["steps"] if step.get("with", {}).get("cache")]
    assert not (cached and "id-token" in job.content["permissions"])


@pytest.mark.parametrize(("where", "script"), list(scripts()))
def test_a_script_is_bash_that_nobody_from_outside_can_add_to(where: str, script: str) -> None:
    assert not EXPRESSION.search(script), where
    found = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_pipe_ends_with_its_first_failure() -> None:
    for file in WORKFLOWS:
        if any("run" in step for job in OWN if job.workflow == file.stem for step in job.content["steps"]):
            assert read(file)["defaults"] == {"run": {"shell": "bash"}}, file


def test_every_target_of_make_exists() -> None:
    targets = {target for _, script in scripts() for target in MAKE.findall(script)}
    assert targets == {"lint", "types", "unit", "integration", ".venv/.development-installed"}
    for target in targets:
        found = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr


def test_make_test_and_the_workflow_run_the_same() -> None:
    whole = re.search(r"^test: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert whole is not None
    parts = read(ROOT / ".github/workflows/test.yaml")["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert [each["part"] for each in parts] == whole[1].split()


def commands() -> dict[str, set[str]]:
    """Each ``python -m`` of ours, with every option that it is given."""
    found: dict[str, set[str]] = {}
    for _, script in scripts():
        for command in COMMAND.findall(script):
            module, name, *rest = re.split(r" 2>| >| \|", command)[0].split()
            found.setdefault(f"{module} {name}", set()).update(each for each in rest if each.startswith("--"))
    return found


def test_the_workflows_run_commands_of_ours() -> None:
    assert set(commands()) == {"infra check", "infra comment"}


@pytest.mark.parametrize("command", commands())
def test_a_command_has_the_options_that_it_is_given(command: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert [option for option in commands()[command] if option not in found.stdout] == []


def test_the_pulumi_commands_hold_the_stack_against_the_pack() -> None:
    run = [script for _, script in scripts() if "pulumi preview" in script or "pulumi up" in script]
    assert len(run) == 2
    for script in run:
        assert '--policy-pack policies --policy-pack-config "policies/config/$STACK.json"' in script
        assert "--non-interactive" in script
        assert "$STACK" in script
    for stack in ("dev", "prod"):
        assert (ROOT / f"policies/config/{stack}.json").exists()


def test_the_cli_is_of_the_version_that_the_lock_pins() -> None:
    [script] = [script for where, script in scripts() if where == "pulumi"]
    asked = re.search(r"\$\((sed .*?)\)", script)
    assert asked is not None
    found = subprocess.run(["bash", "-c", asked[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", found.stdout)


def test_the_comment_is_found_again_by_the_mark_that_the_command_writes() -> None:
    [script] = [script for where, script in scripts() if where == "preview: comment"]
    assert mark("$1") in script
    stacks = read(ROOT / ".github/workflows/preview.yaml")["jobs"]["preview"]["outputs"]
    assert re.findall(r'^write (\w+) "\$(\w+)"$', script, re.MULTILINE) == [(each, each.upper()) for each in stacks]


GH = """#!/bin/bash
echo "$@" >> "$LOG"
if [ "$2" = --paginate ] && [[ "$*" == */7/comments* ]]; then printf '%s' "$FOUND"; fi
if [[ "$*" == *body=@comment.md ]]; then cat comment.md >> "$LOG"; fi
"""


@pytest.mark.parametrize(("found", "call"), [("", "POST repos/o/r/issues/7/"), ("42\n43\n", "PATCH repos/o/r/issues/")])
def test_the_comment_is_written_once_and_then_written_over(found: str, call: str, tmp_path: Path) -> None:
    [script] = [script for where, script in scripts() if where == "preview: comment"]
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "FOUND": found,
        "GITHUB_REPOSITORY": "o/r",
        "PULL_REQUEST": "7",
        "DEV": base64.b64encode(b"<!-- the largest -->" + b"x" * 65_516).decode(),
        "PROD": "",
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    subprocess.run(command, cwd=tmp_path, env=variables, check=True)
    log = (tmp_path / "log").read_text()
    assert log.count("--silent") == 1
    assert f"api --silent --method {call}comments{'/42' if found else ''} --field body=@comment.md\n" in log
    assert log.endswith("x" * 65_516)


def test_an_environment_without_its_variables_is_told_so(tmp_path: Path) -> None:
    [script] = [script for where, script in scripts() if where == "pulumi"]
    variables = {"PATH": os.environ["PATH"], "ROLE": "", "REGION": "r", "BACKEND": "b", "GITHUB_OUTPUT": "/dev/null"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    found = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stdout.startswith("::error::set AWS_ROLE, AWS_REGION and PULUMI_BACKEND_URL")
