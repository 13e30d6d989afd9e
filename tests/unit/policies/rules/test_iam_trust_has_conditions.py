"""``iam-trust-has-conditions``."""

from __future__ import annotations

import pytest

from policies.rules.iam_trust_has_conditions import iam_trust_has_conditions
from policies.testing import Case, Cases
from tests.unit.policies.rules.statements import role

ACCOUNT = "123456789012"
OURS = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
SERVICE = {
    "Effect": "Allow",
    "Action": ["sts:AssumeRole"],
    "Principal": {"Service": ["lambda.amazonaws.com"]},
    "Condition": OURS,
}
INSTANCE = {"Service": "ec2.amazonaws.com"}
OTHER = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
WORKFLOW = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"}
SUB = "token.actions.githubusercontent.com:sub"
POOL = {"Federated": "cognito-identity.amazonaws.com"}
PEOPLE = {"Federated": f"arn:aws:iam::{ACCOUNT}:saml-provider/ours"}

CASES = [
    Cases(
        iam_trust_has_conditions,
        passing=[
            role(SERVICE),
            role(SERVICE, Condition={"ArnLike": {"aws:SourceArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:*"}}),
            role(SERVICE, Condition={"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::ours"}}),
            role(SERVICE, Principal=INSTANCE, Condition=None),
            role(SERVICE, Principal=OTHER, Condition={"StringEquals": {"sts:ExternalId": "of-theirs"}}),
            role(SERVICE, Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringLike": {SUB: "repo:ours/program:ref:refs/heads/*"}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringLike": {"eks:sub": "system:serviceaccount:serving:*"}}),
            role(SERVICE, Principal=POOL, Condition={"StringEquals": {f"{POOL['Federated']}:aud": "eu-west-1:pool"}}),
            role(SERVICE, Principal=PEOPLE, Condition={"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com"}}),
            role(SERVICE, Effect="Deny", Principal="*", Condition=None),
        ],
        failing=[
            role(SERVICE, Condition=None),
            role(SERVICE, Condition={"StringLike": {"aws:SourceAccount": "*"}}),
            role(SERVICE, Condition={"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}),
            role(SERVICE, Condition={"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}),
            role(SERVICE, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:lambda:eu-west-1:*:function:ours"}}),
            role(SERVICE, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}),
            role(SERVICE, Principal={"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}, Condition=None),
            role(SERVICE, Principal=OTHER, Condition=None),
            role(SERVICE, Principal=ACCOUNT, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            role(SERVICE, Principal="*", Condition={"StringEquals": {"sts:ExternalId": "of-theirs"}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringEquals": {f"{SUB[:-4]}:aud": "sts.amazonaws.com"}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringLike": {SUB: "*"}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringLike": {SUB: ["repo:ours/*", "repo:*"]}}),
            role(SERVICE, Principal=WORKFLOW, Condition={"StringLike": {SUB: "repo:ours*"}}),
            role(SERVICE, Principal=POOL, Condition=None),
            role(SERVICE, Principal=PEOPLE, Condition=None),
            role(SERVICE, Principal=None, NotPrincipal={"AWS": ACCOUNT}),
        ],
        unknown=["assumeRolePolicy"],
    ),
    Cases(
        iam_trust_has_conditions,
        passing=[
            role(SERVICE, Principal=OTHER, Condition=None),
            role(SERVICE, Principal=ACCOUNT, Condition=None),
            role(SERVICE, Principal={"Service": "pods.eks.amazonaws.com"}, Condition=None),
        ],
        failing=[
            role(SERVICE, Principal=INSTANCE, Condition=None),
            role(SERVICE, Principal={"AWS": "210987654321"}, Condition=None),
        ],
        config={"no_source": ["pods.eks.amazonaws.com"], "accounts": [ACCOUNT]},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_iam_trust_has_conditions(case: Case) -> None:
    case.check()
