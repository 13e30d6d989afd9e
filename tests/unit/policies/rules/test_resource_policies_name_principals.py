"""``resource-policies-name-principals``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN, Resource
from policies.rules.resource_policies_name_principals import resource_policies_name_principals
from policies.testing import Case, Cases, put, resource
from tests.unit.policies.rules.statements import policy

ACCOUNT = "123456789012"
SEND = {
    "Effect": "Allow",
    "Action": ["sqs:SendMessage"],
    "Resource": [f"arn:aws:sqs:eu-west-1:{ACCOUNT}:ours"],
    "Principal": {"Service": ["events.amazonaws.com"]},
}
EVERYBODY = {"AWS": ["*"]}


def queue(**changes: object) -> Resource:
    return resource("aws:sqs/queuePolicy:QueuePolicy", {"policy": policy(SEND, **changes)})


def within(operator: str, key: str, value: object) -> Resource:
    return queue(Principal=EVERYBODY, Condition={operator: {key: value}})


CASES = [
    Cases(
        resource_policies_name_principals,
        passing=[
            queue(),
            queue(Effect="Deny", Principal="*"),
            within("StringEquals", "aws:PrincipalOrgID", "o-1234567890"),
            within("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", "o-1234567890/r-ab12/*"),
            within("StringEquals", "kms:CallerAccount", ACCOUNT),
            within("ArnLike", "aws:SourceArn", f"arn:aws:sns:*:{ACCOUNT}:*"),
            within("StringEquals", "aws:SourceVpce", ["vpce-1", "vpce-2"]),
            resource("aws:s3/bucket:Bucket", {"bucket": "ours"}),
        ],
        failing=[
            queue(Principal="*"),
            queue(Principal=EVERYBODY),
            queue(Principal={"AWS": ["arn:aws:iam::123456789012:role/ours", "*"]}),
            queue(Principal=None, NotPrincipal={"AWS": ACCOUNT}),
            within("StringLike", "aws:PrincipalOrgID", "o-*"),
            within("StringEquals", "aws:SourceAccount", [ACCOUNT, "*"]),
            within("StringEquals", "aws:PrincipalAccount", "${aws:SourceAccount}"),
            within("StringNotEquals", "aws:SourceVpc", "vpc-1"),
            within("StringEqualsIfExists", "aws:SourceVpc", "vpc-1"),
            within("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1"),
            within("ArnLike", "aws:SourceArn", "arn:aws:sns:eu-west-1:*:ours"),
            within("Bool", "aws:SecureTransport", "true"),
            resource("aws:s3/bucketPolicy:BucketPolicy", {"policy": policy(SEND, Principal="*")}),
            resource("aws:s3/bucketV2:BucketV2", {"policy": policy(SEND, Principal="*")}),
            resource("aws:sns/topic:Topic", {"policy": policy(SEND, Principal="*")}),
        ],
        unknown=["policy"],
    ),
    Cases(
        resource_policies_name_principals,
        passing=[
            resource("aws:lambda/permission:Permission", {"principal": "*", "principalOrgId": "o-1234567890"}),
            resource("aws:lambda/permission:Permission", {"principal": "apigateway.amazonaws.com"}),
        ],
        failing=[put("principalOrgId", None), resource("aws:lambda/permission:Permission", {"principal": "*"})],
        unknown=["principal", put("principalOrgId", UNKNOWN)],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_resource_policies_name_principals(case: Case) -> None:
    case.check()
