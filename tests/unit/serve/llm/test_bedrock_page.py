"""What docs/bedrock.md says is so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from serve.llm.bedrock import errors, prices, request
from serve.llm.settings import Bedrock
from serve.settings import Settings
from tests.documentation import ROOT

PAGE = (ROOT / "docs/bedrock.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(heading: str) -> list[list[str]]:
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_its_settings_are_settings_and_cost_what_the_table_says() -> None:
    found = Settings.model_validate(yaml.safe_load(block("yaml")))
    for backend in found.backends.values():
        assert isinstance(backend, Bedrock)
        assert prices.price(backend.model) is not None


def test_it_names_every_setting_with_its_default() -> None:
    told = {row[0].strip("`"): row[2] for row in rows("Settings")}
    assert told.keys() == Bedrock.model_fields.keys() - {"kind"}
    for name, field in Bedrock.model_fields.items():
        if isinstance(field.default, int | float):
            assert told[name] == f"{field.default:g}"


def test_its_policy_lets_its_settings_work() -> None:
    from parliament import analyze_policy_string  # type: ignore[import-untyped]

    policy = json.loads(block("json"))
    findings = analyze_policy_string(json.dumps(policy)).findings
    # It wants each kind of resource that an action can have, where one is enough.
    assert [str(finding) for finding in findings if finding.issue != "RESOURCE_MISMATCH"] == []
    for kind in ("*:inference-profile", ":foundation-model", ":guardrail"):
        assert f"{kind}/" not in str([str(finding) for finding in findings])
    resources = str(policy)
    settings: dict[str, Any] = yaml.safe_load(block("yaml"))["backends"]["claude"]
    assert settings["model"] in resources
    assert settings["guardrail"]["id"] in resources


@pytest.mark.parametrize("row", rows("When it goes wrong"), ids=lambda row: row[0][:30])
def test_its_table_of_errors_is_the_one_in_use(row: list[str]) -> None:
    names = re.findall(r"`(\w+Exception)`", row[0])
    for name in names:
        error = errors.failure("r", name, "why").error
        assert error.status == int(row[1])
        assert (error.openai_code or "") in row[2]
    assert names or "credentials" in row[0]


def test_it_names_the_fields_that_go_along_and_the_tables_date() -> None:
    assert all(f"`{name}`" in PAGE for name in request.FIELDS)
    assert f"**{prices.table().date}**" in PAGE
