"""``buckets-refuse-plain-http``."""

from __future__ import annotations

import json

import pytest

from policies.node import UNKNOWN, Stack
from policies.rules.buckets_refuse_plain_http import buckets_refuse_plain_http
from policies.testing import Case, Cases, drop, gone, put, resource, stack

BUCKET = resource("aws:s3/bucket:Bucket", {"bucket": "data"}, "data")
DENIES = {
    "Effect": "Deny",
    "Action": ["s3:*"],
    "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
    "Principal": {"AWS": ["*"]},
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def saying(**changes: object) -> Stack:
    document = json.dumps({"Version": "2012-10-17", "Statement": [DENIES | changes]})
    policy = resource("aws:s3/bucketPolicy:BucketPolicy", {"policy": document}, "policy", links={"bucket": [BUCKET]})
    return stack(BUCKET, policy)


CASES = Cases(
    buckets_refuse_plain_http,
    passing=[
        saying(),
        saying(Principal="*", Action="s3:*"),
        saying(Condition={"Bool": {"AWS:SecureTransport": [False]}}),
        stack(),
    ],
    failing=[
        gone("policy"),
        put("policy", "{}", at="policy"),
        put("policy", "nothing", at="policy"),
        drop("policy", at="policy"),
        saying(Effect="Allow"),
        saying(Action=["s3:GetObject"]),
        saying(Principal={"AWS": ["arn:aws:iam::123456789012:root"]}),
        saying(Principal={"Service": ["*"]}),
        saying(Resource=["arn:aws:s3:::data/*"]),
        saying(Condition={"Bool": {"aws:SecureTransport": "true"}}),
        saying(Condition={}),
        saying(Condition={"Bool": {"aws:SecureTransport": "false", "aws:ViaAWSService": "false"}}),
        saying(Condition={**DENIES["Condition"], "StringEquals": {"aws:SourceVpc": "vpc-0"}}),
    ],
    unknown=[put("policy", UNKNOWN, at="policy")],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_buckets_refuse_plain_http(case: Case) -> None:
    case.check()
