"""``buckets-versioned``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from policies.reading.buckets import BUCKETS, of_bucket
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

VERSIONING = (
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketVersioningV2:BucketVersioningV2",
)


@stack_rule(
    "buckets-versioned",
    *BUCKETS,
    *VERSIONING,
    group="operations",
    severity=Severity.MEDIUM,
    remedy='BucketVersioning(bucket=…, versioning_configuration={"status": "Enabled"})',
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html",
)
def buckets_versioned(stack: Stack) -> Iterable[Violation]:
    """A bucket keeps what was overwritten or deleted."""
    return each_held(stack.of_type(*BUCKETS), partial(_of_bucket, stack))


def _of_bucket(stack: Stack, bucket: Resource) -> Iterable[Violation]:
    found = [
        bucket.get("versioning.enabled") is True,
        *(each.get("versioningConfiguration.status") == "Enabled" for each in of_bucket(stack, bucket, *VERSIONING)),
    ]
    if not any(found):
        yield bucket.violation("", "versioning that is enabled", "none")
