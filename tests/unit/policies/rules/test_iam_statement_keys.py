"""``iam-statement-keys``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.node import Resource
from policies.rules.iam_statement_keys import iam_statement_keys
from policies.testing import Case, Cases, put, resource
from tests.unit.policies.rules.statements import role, role_policy

ACCESS = {"Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": ["arn:aws:dynamodb:::table/store"]}
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["lambda.amazonaws.com"]}}


def whole(**document: Any) -> Resource:
    return resource("aws:iam/rolePolicy:RolePolicy", {"policy": json.dumps(document)})


CASES = Cases(
    iam_statement_keys,
    passing=[
        role_policy(ACCESS),
        role(TRUST),
        role_policy(ACCESS, Effect="Deny", Sid="No", NotAction="s3:GetObject", Action=None),
        whole(Version="2012-10-17", Statement=ACCESS),
        resource("aws:appautoscaling/policy:Policy", {"policy": json.dumps({"Statment": []})}),
    ],
    failing=[
        role_policy(ACCESS, Resource=None, Ressource=["*"]),
        role_policy(ACCESS, Resource=None),
        role_policy(ACCESS, Action=None),
        role_policy(ACCESS, Effect="allow"),
        role(TRUST, Action=None),
        whole(Version="2012-10-17", Statment=[ACCESS]),
        whole(Version="2008-10-17", Statement=[ACCESS]),
        whole(Statement=[ACCESS]),
        whole(Version="2012-10-17", Statement=[]),
        whole(Version="2012-10-17", Statement=["Allow"]),
        put("policy", "{}"),
    ],
    unknown=["policy"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_iam_statement_keys(case: Case) -> None:
    case.check()
