"""Each rule finds its one mistake in a stack that has no other."""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
from typing import Any

import pytest

from infra.check import rules
from infra.check.finding import Finding
from tests.unit.infra.check.good import ACCESS, CONTAINER, GOOD, MACHINE, recorded


def found(**mistake: Any) -> list[Finding]:
    return list(rules.findings(recorded(dataclasses.replace(GOOD, **mistake))))


def copied(document: Any, *path: str | int) -> tuple[Any, Any]:
    """A copy of ``document``, and what in it is at ``path``."""
    whole = copy.deepcopy(document)
    return whole, functools.reduce(operator.getitem, path, whole)


def changed(document: Any, *path: str | int, to: Any) -> Any:
    whole, inner = copied(document, *path[:-1])
    inner[path[-1]] = to
    return whole


def without(document: Any, *path: str | int) -> Any:
    whole, inner = copied(document, *path[:-1])
    del inner[path[-1]]
    return whole


def renamed(document: Any, *path: str | int, to: str) -> Any:
    whole, inner = copied(document, *path[:-1])
    inner[to] = inner.pop(path[-1])
    return whole


def test_a_stack_without_a_mistake_has_no_findings() -> None:
    assert found() == []


def test_every_rule_has_a_mistake_here_that_it_finds() -> None:
    told = {case.values[0] for case in MISTAKES}
    assert told == set(rules.RULES)


MISTAKES = [
    pytest.param(
        "policy_parliament",
        {"access": changed(ACCESS, "Statement", 0, "Action", to=["dynamodb:FetchItem"])},
        "policy",
        id="an action that isn't",
    ),
    pytest.param(
        "policy_parliament",
        {"access": changed(ACCESS, "Statement", 0, "Resource", to=["arn:aws:s3:::store"])},
        "policy",
        id="a resource of another kind",
    ),
    pytest.param(
        "containers",
        {"container": renamed(CONTAINER, "portMappings", to="portMapping")},
        "containerDefinitions[0].portMapping",
        id="misspelt container key",
    ),
    pytest.param(
        "containers",
        {"container": changed(CONTAINER, "portMappings", 0, "containerPort", to="8080")},
        "containerDefinitions[0].portMappings[0].containerPort",
        id="a port that is a text",
    ),
    pytest.param(
        "containers",
        {"container": without(CONTAINER, "image")},
        "containerDefinitions[0].image",
        id="no image",
    ),
    pytest.param(
        "containers",
        {"container": changed(CONTAINER, "secrets", 0, "valueFrom", to="keys")},
        "containerDefinitions[0].secrets[0].valueFrom",
        id="a secret without an ARN",
    ),
    pytest.param(
        "state_machines",
        {"machine": renamed(MACHINE, "States", "Good", "Choices", 0, "NumericGreaterThanEquals", to="NumericAtLeast")},
        "definition",
        id="a comparison that isn't",
    ),
    pytest.param("arns", {"role_arn": "arn:aws:iam::1234:role/x"}, "roleArn", id="wrong ARN: account"),
    pytest.param("arns", {"role_arn": "arn:aws:iam:123456789012:role/x"}, "roleArn", id="wrong ARN: five parts"),
    pytest.param("arns", {"role_arn": "role/x"}, "roleArn", id="a name for an ARN"),
    pytest.param(
        "plain_secrets",
        {"container": changed(CONTAINER, "environment", 0, to={"name": "DB_PASSWORD", "value": "hunter2"})},
        "containerDefinitions[0].environment[0].value",
        id="secret in plain text: environment",
    ),
    pytest.param(
        "plain_secrets", {"user_data": "#!/bin/bash\nexport API_TOKEN=abc123\n"}, "userData", id="secret in user data"
    ),
    pytest.param(
        "plain_secrets",
        {"user_data": "[default]\naws_access_key_id = AKIAABCDEFGHIJKLMNOP\n"},
        "userData",
        id="access key in a text that begins as JSON does",
    ),
    pytest.param("exports", {"export_kubeconfig": True}, "outputs.kubeconfig", id="secret exported in plain text"),
    pytest.param("outputs_in_text", {"output_in_text": True}, "name", id="an output in a text"),
]


@pytest.mark.parametrize(("rule", "mistake", "path"), MISTAKES)
def test_a_mistake_is_found_and_named(rule: str, mistake: dict[str, Any], path: str) -> None:
    assert path in [each.path for each in found(**mistake) if each.rule == rule]


def test_a_finding_is_one_line_that_says_where_what_was_expected_and_what_came() -> None:
    line = next(str(each) for each in found(container=without(CONTAINER, "image")) if each.rule == "containers")
    assert line == (
        "aws:ecs/taskDefinition:TaskDefinition serve: containerDefinitions[0].image: expected the container's image,"
        " got None [containers]"
    )


def test_a_finding_never_says_a_secret() -> None:
    container = changed(CONTAINER, "environment", 0, to={"name": "DB_PASSWORD", "value": "hunter2"})
    told = [str(each) for each in found(container=container)]
    assert told
    assert "hunter2" not in "".join(told)


@pytest.mark.parametrize(
    "name",
    ["MAX_TOKENS", "API_KEYS_SECRET_ARN", "SECRET_NAME", "TOKENS_PER_HOUR", "PASSWORD_FILE", "KEY_PREFIX"],
)
def test_what_only_names_a_secret_is_none(name: str) -> None:
    container = changed(CONTAINER, "environment", 0, to={"name": name, "value": "something"})
    assert [each for each in found(container=container) if each.rule == "plain_secrets"] == []
