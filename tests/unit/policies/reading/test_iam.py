"""Policies of IAM, wherever a resource has one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.node import UNKNOWN, UnknownValueError
from policies.reading.iam import documents
from policies.testing import resource

STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
POLICY = {"Version": "2012-10-17", "Statement": [STATEMENT, {**STATEMENT, "Effect": "Deny"}]}


def found(inputs: dict[str, Any], type_: str = "aws:iam/policy:Policy") -> list[tuple[str, int]]:
    return [(each.node.path, len(each.statements())) for each in documents(resource(type_, inputs))]


def test_a_policy_is_read_from_a_text_and_from_a_mapping() -> None:
    assert found({"policy": json.dumps(POLICY)}) == [("policy", 2)]
    assert found({"policy": POLICY}) == [("policy", 2)]
    assert found({"inlinePolicies": [{"name": "x", "policy": json.dumps(POLICY)}]}) == [("inlinePolicies[0].policy", 2)]


def test_a_policy_whose_statement_is_misspelt_is_found_by_its_property() -> None:
    assert found({"assumeRolePolicy": json.dumps({"Statment": []})}) == [("assumeRolePolicy", 0)]


def test_one_statement_may_stand_without_a_list_and_what_is_allowed_is_told_from_what_is_not() -> None:
    [document] = documents(resource("aws:iam/policy:Policy", {"policy": json.dumps({"Statement": STATEMENT})}))
    assert [each.path for each in document.statements()] == ["policy.Statement"]
    [document] = documents(resource("aws:iam/policy:Policy", {"policy": POLICY}))
    assert [each.path for each in document.allowed()] == ["policy.Statement[0]"]


def test_a_policy_of_another_service_is_none() -> None:
    assert found({"policy": json.dumps({"rules": []})}, "aws:ecr/lifecyclePolicy:LifecyclePolicy") == []
    assert found({"policy": json.dumps(POLICY)}, "kubernetes:core/v1:ConfigMap") == []


def test_a_policy_that_is_not_known_is_told_after_those_that_are() -> None:
    given = documents(resource("aws:iam/role:Role", {"policy": json.dumps(POLICY), "assumeRolePolicy": UNKNOWN}))
    assert next(given).node.path == "policy"
    with pytest.raises(UnknownValueError):
        next(given)
