"""``iam-no-wildcards``."""

from __future__ import annotations

import json
import sys

import pytest

from policies.rules.iam_no_wildcards import iam_no_wildcards, takes_arn
from policies.testing import Case, Cases, found, resource
from tests.unit.policies.rules.statements import policy, role, role_policy

ACCESS = {"Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": ["arn:aws:dynamodb:::table/store"]}
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["lambda.amazonaws.com"]}}
INTERFACES = "arn:aws:ec2:us-east-1:123456789012:*/*"
ROOT = "arn:aws:iam::123456789012:root"
KEY = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": {"AWS": ROOT}}

CASES = Cases(
    iam_no_wildcards,
    passing=[
        role_policy(ACCESS),
        role(TRUST),
        role_policy(ACCESS, Action=["ecr:GetAuthorizationToken", "xray:PutTraceSegments"], Resource="*"),
        role_policy(ACCESS, Effect="Deny", Action="s3:*", Resource="*"),
        role_policy(ACCESS, Action="s3:GetObject", Resource="arn:aws:s3:::models/*"),
        role_policy(ACCESS, Resource="arn:aws:dynamodb:us-east-1:123456789012:table/*"),
        role_policy(ACCESS, Action="ec2:CreateNetworkInterface", Resource=INTERFACES),
        resource("aws:kms/key:Key", {"policy": policy(KEY)}),
    ],
    failing=[
        role_policy(ACCESS, Action=["dynamodb:*"]),
        role_policy(ACCESS, Action="*"),
        role_policy(ACCESS, Action="s3:GetObjec?"),
        role_policy(ACCESS, Action=None, NotAction="iam:PassRole"),
        role_policy(ACCESS, Resource="*"),
        role_policy(ACCESS, Resource=["arn:aws:dynamodb:::table/store", "**"]),
        role_policy(ACCESS, Resource="arn:aws:*:*:*:*"),
        role_policy(ACCESS, Resource="arn:aws:dynamodb:*:*:*/*"),
        role_policy(ACCESS, Resource="arn:aws:dynamodb:us-east-1:123456789012:*"),
        role_policy(ACCESS, Action="s3:GetObject", Resource="arn:aws:s3:::*"),
        role_policy(ACCESS, Action="s3:GetObject", Resource="arn:aws:s3:::*/*"),
        role_policy(ACCESS, Action="sts:AssumeRole", Resource="arn:aws:iam::*:role/*"),
        role_policy(ACCESS, Action="ec2:RunInstances", Resource=INTERFACES),
        role_policy(ACCESS, Action="ec2:CreateNetworkInterface", Resource=INTERFACES.replace("us-east-1", "*")),
        role_policy(ACCESS, Resource=None, NotResource="arn:aws:s3:::kept"),
        role_policy(ACCESS, Action="sevice:Misspelt", Resource="*"),
        role(TRUST, Action="sts:*"),
        resource("aws:kms/key:Key", {"policy": policy(KEY, Principal={"AWS": [ROOT, "*"]})}),
        resource("aws:kms/key:Key", {"policy": policy(KEY, Principal="*")}),
        resource("aws:s3/bucketPolicy:BucketPolicy", {"policy": json.dumps({"Statement": KEY})}),
    ],
    unknown=["policy"],
)


def test_without_parliament_every_action_takes_an_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "parliament", None)
    takes_arn.cache_clear()
    try:
        assert found(iam_no_wildcards, role_policy(ACCESS, Action="ecr:GetAuthorizationToken", Resource="*"))
        assert not found(iam_no_wildcards, role_policy(ACCESS))
        assert found(iam_no_wildcards, role_policy(ACCESS, Action="s3:*"))
    finally:
        takes_arn.cache_clear()


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_iam_no_wildcards(case: Case) -> None:
    case.check()
