"""Buckets, and the resources that say something of one."""

from __future__ import annotations

from policies.node import Resource, Stack
from policies.reading.links import comes_from

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
ENCRYPTION = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)


def of_bucket(stack: Stack, bucket: Resource, *types: str) -> tuple[Resource, ...]:
    """The resources of ``types`` whose ``bucket`` it is.

    Raises:
        UnknownValueError: one of them doesn't know yet whose it is.
    """
    return tuple(each for each in stack.of_type(*types) if comes_from(stack, each, "bucket", bucket, "bucket"))
