"""``s3-blocks-public-access``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policies.reading.buckets import BUCKETS, of_bucket
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ALL = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


@stack_rule(
    "s3-blocks-public-access",
    *BUCKETS,
    group="public access",
    severity=Severity.CRITICAL,
    remedy="aws.s3.BucketPublicAccessBlock(bucket=bucket.id, block_public_acls=True, block_public_policy=True, "
    "ignore_public_acls=True, restrict_public_buckets=True)",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
)
def s3_blocks_public_access(stack: Stack) -> Iterator[Violation]:
    """Each bucket blocks public access in all four ways."""
    return each_held(stack.of_type(*BUCKETS), partial(_of_bucket, stack))


def _of_bucket(stack: Stack, bucket: Resource) -> Iterator[Violation]:
    blocks = of_bucket(stack, bucket, BLOCK)
    if not blocks:
        yield Violation("", "a BucketPublicAccessBlock of it", None, bucket.urn)
    for block in blocks:
        for way in ALL:
            yield from block.expect(way, True)
