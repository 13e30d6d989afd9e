"""The policy pack's own server, asked with whole stacks: the two that are made, and three that are refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from infra import settings
from infra.__main__ import program
from infra.check import command
from infra.check.pack import Held, held, rules_table
from infra.check.record import Recording, record
from policies.rules import RULES
from tests.documentation import ROOT, examples

pytestmark = pytest.mark.integration

REFUSED = ROOT / "examples" / "refused"
STACKS = ("dev", "prod")
RULE_LINE = re.compile(r"([a-z0-9-]+) \((?:low|medium|high|critical)\): ")


@pytest.fixture(scope="module")
def recordings() -> dict[str, Recording]:
    return {
        stack: record(
            program,
            project=settings.PROJECT,
            stack=stack,
            config=settings.config_of(ROOT / f"Pulumi.{stack}.yaml"),
        )
        for stack in STACKS
    }


@pytest.fixture(scope="module")
def found(recordings: dict[str, Recording]) -> dict[str, Held]:
    return {stack: held(recording, ROOT) for stack, recording in recordings.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_is_not_refused(found: dict[str, Held], stack: str) -> None:
    assert [str(each) for each in found[stack].mandatory] == []
    assert found[stack].levels.keys() == RULES.keys()


def test_every_rule_looks_at_something_in_one_of_the_stacks(recordings: dict[str, Recording]) -> None:
    types = {each.type for recording in recordings.values() for each in recording.resources}
    assert [name for name, rule in RULES.items() if not any(map(rule.looks_at, types))] == []


def test_the_table_says_what_each_rule_looked_at(recordings: dict[str, Recording], found: dict[str, Held]) -> None:
    lines = list(rules_table(recordings["prod"], found["prod"]))
    assert len(lines) == len(RULES)
    [scans] = [line for line in lines if "ecr-scans-on-push " in line]
    assert re.fullmatch(r"  ecr-scans-on-push +mandatory +matched +7  refused 0", scans)


REASONS = {
    "insecure": ("eks-endpoint-not-open", "gpus-allowed", "images-pinned", "data-protected", "backups-kept"),
    "misfit": ("services-fit",),
    "too-dear": ("monthly-cost-within-budget",),
}


@pytest.mark.parametrize("stack", REASONS)
def test_a_broken_stack_is_refused_for_its_reason_as_the_page_shows(
    stack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [shown] = [each for each in examples(ROOT / "docs" / "policies.md") if f"--stack {stack} " in each.program]
    arguments = shlex.split(shown.program)[4:]
    assert arguments[arguments.index("--folder") + 1] == str(REFUSED.relative_to(ROOT))
    assert command.main([str(REFUSED) if each == str(REFUSED.relative_to(ROOT)) else each for each in arguments]) == 1
    printed = capsys.readouterr().out.splitlines()
    refused = {found[1] for line in printed if (found := RULE_LINE.match(line))}
    assert set(REASONS[stack]) <= refused
    if stack != "insecure":
        assert refused == set(REASONS[stack])
    for line in shown.output.splitlines():
        assert line == "…" or line in printed or re.match(r"\d+ findings in", line), line


def test_a_config_that_is_not_the_pack_s_is_a_mistake_of_the_user_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.misfit.yaml").write_text((REFUSED / "Pulumi.misfit.yaml").read_text())
    file = tmp_path / "policies" / "config" / "misfit.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"ecr-scan-on-push": "advisory"}')
    assert command.main(["--stack", "misfit", "--folder", str(tmp_path)]) == 2
    assert "names the rule ecr-scan-on-push, which the pack doesn't have" in capsys.readouterr().err
