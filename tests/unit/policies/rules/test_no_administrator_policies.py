"""``no-administrator-policies``."""

from __future__ import annotations

import pytest

from policies.node import Resource
from policies.rules.no_administrator_policies import ATTACHMENTS, no_administrator_policies
from policies.testing import Case, Cases, put, resource

OF_AWS = "arn:aws:iam::aws:policy"
ADMINISTRATOR = f"{OF_AWS}/AdministratorAccess"
NODES = f"{OF_AWS}/AmazonEKSWorkerNodePolicy"
OURS = "arn:aws:iam::123456789012:policy/FullAccess"


def attachment(arn: str, type_: str = "aws:iam/rolePolicyAttachment:RolePolicyAttachment") -> Resource:
    return resource(type_, {"role": "it", "policyArn": arn})


def role(*arns: str) -> Resource:
    return resource("aws:iam/role:Role", {"managedPolicyArns": list(arns)})


CASES = [
    Cases(
        no_administrator_policies,
        passing=[
            attachment(NODES),
            attachment(f"{OF_AWS}/service-role/AmazonEC2ContainerServiceforEC2Role"),
            attachment(OURS),
            role(NODES, OURS),
            resource("aws:iam/role:Role", {"name": "it"}),
        ],
        failing=[
            *(attachment(ADMINISTRATOR, type_) for type_ in ATTACHMENTS),
            put("policyArn", f"{OF_AWS}/PowerUserAccess"),
            put("policyArn", f"{OF_AWS}/IAMFullAccess"),
            put("policyArn", f"{OF_AWS}/AmazonS3FullAccess"),
            put("policyArn", f"{OF_AWS}/job-function/AdministratorAccess"),
            put("policyArn", "arn:aws-us-gov:iam::aws:policy/AdministratorAccess"),
            role(NODES, ADMINISTRATOR),
        ],
        unknown=["policyArn"],
    ),
    Cases(
        no_administrator_policies,
        passing=[attachment(ADMINISTRATOR)],
        failing=[put("policyArn", f"{OF_AWS}/PowerUserAccess"), role(ADMINISTRATOR, f"{OF_AWS}/IAMFullAccess")],
        config={"allowed": [ADMINISTRATOR]},
    ),
    Cases(
        no_administrator_policies,
        passing=[role(NODES)],
        failing=[put("managedPolicyArns", [ADMINISTRATOR])],
        unknown=["managedPolicyArns", "managedPolicyArns[0]"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_no_administrator_policies(case: Case) -> None:
    case.check()
