"""The page on costs: the tables that it shows are those that the check prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from infra import settings
from infra.__main__ import program
from infra.check.canaries import Canaries
from infra.check.cost import cost_table
from infra.check.record import record
from infra.prices.command import main as prices
from tests.documentation import ROOT, Example, examples

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "costs.md"


def example(program_: str) -> Example:
    return next(each for each in examples(PAGE) if each.program == program_)


def printed(stack: str) -> list[str]:
    """The check records a stack with each of its secrets set."""
    canaries = Canaries.for_keys(settings.SECRET_KEYS)
    recording = record(
        program,
        project=settings.PROJECT,
        stack=stack,
        config=settings.config_of(ROOT / f"Pulumi.{stack}.yaml") | canaries.config(settings.PROJECT),
        secret_keys=[f"{settings.PROJECT}:{key}" for key in settings.SECRET_KEYS],
    )
    return list(cost_table(recording))


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_tables_are_those_that_the_check_prints(stack: str) -> None:
    shown = [line.rstrip() for line in example(f"python -m infra check --stack {stack}").output.splitlines()]
    found = [line.strip() for line in printed(stack)]
    missing = [line for line in shown if line != "…" and line.strip() not in found]
    assert not missing, "\n".join(["the page shows what does not come; the table now:", *found])
    total = next(line for line in found if line.startswith("all "))
    assert total in [line.strip() for line in shown]


def test_the_tables_ages_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = example("python -m infra prices")
    assert prices(shlex.split(shown.program)[4:]) == 0
    assert capsys.readouterr().out.strip() == shown.output


def test_the_budgets_that_the_page_names_are_those_of_the_stacks() -> None:
    text = PAGE.read_text()
    for stack in ("dev", "prod"):
        budget = settings.read_settings(Path(ROOT / f"Pulumi.{stack}.yaml")).operations.monthly_budget_usd
        assert f"${budget:,} in `{stack}`" in text
