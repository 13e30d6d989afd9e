"""``iam-pass-role-limited``."""

from __future__ import annotations

import pytest

from policies.rules.iam_pass_role_limited import iam_pass_role_limited
from policies.testing import Case, Cases
from tests.unit.policies.rules.statements import role_policy

ROLE = "arn:aws:iam::123456789012:role/task"
TO = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
PASS = {"Effect": "Allow", "Action": ["iam:PassRole"], "Resource": [ROLE], "Condition": TO}

CASES = Cases(
    iam_pass_role_limited,
    passing=[
        role_policy(PASS),
        role_policy(PASS, Condition={"StringLike": {"IAM:passedtoservice": ["a.amazonaws.com", "b.amazonaws.com"]}}),
        role_policy(PASS, Effect="Deny", Resource="*", Condition=None),
        role_policy(PASS, Action="s3:GetObject", Resource="arn:aws:s3:::models/*", Condition=None),
        role_policy(PASS, Action=None, NotAction=["iam:*"], Resource="*", Condition=None),
    ],
    failing=[
        role_policy(PASS, Resource="*"),
        role_policy(PASS, Resource=[ROLE, "arn:aws:iam::123456789012:role/*"]),
        role_policy(PASS, Resource=None),
        role_policy(PASS, Condition=None),
        role_policy(PASS, Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}),
        role_policy(PASS, Condition={"StringNotEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        role_policy(PASS, Condition={"StringEqualsIfExists": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        role_policy(PASS, Condition={"StringLike": {"iam:PassedToService": ["ec2.amazonaws.com", "*"]}}),
        role_policy(PASS, Condition={"StringEquals": {"iam:PassedToService": []}}),
        role_policy(PASS, Action="iam:Pass*", Resource="*"),
        role_policy(PASS, Action="IAM:PASSROLE", Condition=None),
        role_policy(PASS, Action=None, NotAction="s3:*", Condition=None),
    ],
    unknown=["policy"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_iam_pass_role_limited(case: Case) -> None:
    case.check()
