"""``s3-encrypted-with-kms``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policies.node import Node
from policies.reading.buckets import BUCKETS, ENCRYPTION, of_bucket
from policies.reading.kms import requires_key
from policies.reading.links import comes_from
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

LOG_TARGETS = (
    ("aws:s3/bucketLogging:BucketLogging", "targetBucket"),
    ("aws:s3/bucketLoggingV2:BucketLoggingV2", "targetBucket"),
    ("aws:lb/loadBalancer:LoadBalancer", "accessLogs.bucket"),
    ("aws:lb/loadBalancer:LoadBalancer", "connectionLogs.bucket"),
    ("aws:alb/loadBalancer:LoadBalancer", "accessLogs.bucket"),
    ("aws:alb/loadBalancer:LoadBalancer", "connectionLogs.bucket"),
)
"""What writes logs to a bucket, and can do so by S3's own key alone.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html"""

DEFAULT = "applyServerSideEncryptionByDefault"


@stack_rule(
    "s3-encrypted-with-kms",
    *BUCKETS,
    group="encryption at rest",
    severity=Severity.HIGH,
    remedy="aws.s3.BucketServerSideEncryptionConfiguration(bucket=bucket.id, rules=[...]) whose rule has "
    'sse_algorithm="aws:kms" and kms_master_key_id=key.arn',
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html",
)
def s3_encrypted_with_kms(stack: Stack) -> Iterator[Violation]:
    """Each bucket is encrypted with a KMS key of the account's own, or with S3's where logs are delivered."""
    return each_held(stack.of_type(*BUCKETS), partial(_of_bucket, stack))


def _of_bucket(stack: Stack, bucket: Resource) -> Iterator[Violation]:
    configurations = of_bucket(stack, bucket, *ENCRYPTION)
    if not configurations:
        yield Violation("", "a BucketServerSideEncryptionConfiguration of it", None, bucket.urn)
    for configuration in configurations:
        yield from _weak(stack, bucket, configuration)


def _weak(stack: Stack, bucket: Resource, configuration: Resource) -> Iterator[Violation]:
    rules = list(configuration.each("rules"))
    if not rules:
        yield configuration.violation("rules", "a rule", None)
    for each in rules:
        if each.get(f"{DEFAULT}.sseAlgorithm") != "AES256" or not _takes_logs(stack, bucket):
            yield from _weak_rule(each)


def _weak_rule(each: Node) -> Iterator[Violation]:
    yield from each.expect(f"{DEFAULT}.sseAlgorithm", "aws:kms", "aws:kms:dsse")
    yield from requires_key(each, f"{DEFAULT}.kmsMasterKeyId")


def _takes_logs(stack: Stack, bucket: Resource) -> bool:
    return any(
        comes_from(stack, writer, path, bucket, "bucket")
        for type_, path in LOG_TARGETS
        for writer in stack.of_type(type_)
    )
