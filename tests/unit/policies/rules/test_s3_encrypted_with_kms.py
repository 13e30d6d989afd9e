"""``s3-encrypted-with-kms``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN, UnknownValueError
from policies.rules.s3_encrypted_with_kms import s3_encrypted_with_kms
from policies.testing import Case, Cases, drop, gone, put, resource, stack

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

BUCKET = resource("aws:s3/bucket:Bucket", {"bucket": "data"}, "data")
LOGS = resource("aws:s3/bucket:Bucket", {"bucket": "logs"}, "logs")
TYPE = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
DEFAULT = "rules[0].applyServerSideEncryptionByDefault"
AES = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]}
KMS = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}}]}

OF_BUCKET = resource(TYPE, KMS, "of-data", links={"bucket": [BUCKET]})
OF_LOGS = resource(TYPE, AES, "of-logs", links={"bucket": [LOGS]})
POLICY = resource("aws:s3/bucketPolicy:BucketPolicy", {}, "policy", links={"bucket": [LOGS]})
LOGGING = resource("aws:s3/bucketLogging:BucketLogging", {"targetBucket": "logs"}, "logging")
BY_POLICY = resource("aws:s3/bucketLogging:BucketLogging", {}, "logging", links={"targetBucket": [POLICY]})
BALANCER = resource(
    "aws:lb/loadBalancer:LoadBalancer", {"accessLogs": {"bucket": "logs"}}, "balancer", links={"accessLogs": [LOGS]}
)

CASES = Cases(
    s3_encrypted_with_kms,
    passing=[
        stack(BUCKET, OF_BUCKET, LOGS, OF_LOGS, LOGGING),
        stack(LOGS, OF_LOGS, POLICY, BY_POLICY),
        stack(LOGS, OF_LOGS, BALANCER),
        stack(BUCKET, resource(TYPE, KMS | {"bucket": "data"}, "by-name")),
        stack(),
    ],
    failing=[
        gone("of-data"),
        gone("of-logs"),
        gone("logging"),
        put("targetBucket", "data", at="logging"),
        put(f"{DEFAULT}.sseAlgorithm", "AES256", at="of-data"),
        put(f"{DEFAULT}.kmsMasterKeyId", "alias/aws/s3", at="of-data"),
        drop(f"{DEFAULT}.kmsMasterKeyId", at="of-data"),
        drop("rules", at="of-data"),
        put(f"{DEFAULT}.sseAlgorithm", "none", at="of-logs"),
        stack(BUCKET, resource(TYPE, KMS | {"bucket": "another"}, "of-another")),
    ],
    unknown=[
        put("rules", UNKNOWN, at="of-data"),
        put(f"{DEFAULT}.kmsMasterKeyId", UNKNOWN, at="of-data"),
        put("targetBucket", UNKNOWN, at="logging"),
    ],
)


def test_what_is_not_known_of_one_bucket_hides_nothing_of_another() -> None:
    unknown = put(f"{DEFAULT}.kmsMasterKeyId", UNKNOWN, at="of-data").of(stack(BUCKET, OF_BUCKET, LOGS))
    found = iter(s3_encrypted_with_kms.of(unknown))
    assert next(found).urn == LOGS.urn
    with pytest.raises(UnknownValueError):
        next(found)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_s3_encrypted_with_kms(case: Case) -> None:
    case.check()
