"""``buckets-versioned``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.buckets_versioned import buckets_versioned
from policies.testing import Case, Cases, drop, gone, put, resource, stack

BUCKET = resource("aws:s3/bucket:Bucket", {"bucket": "data"}, "data")
VERSIONING = resource(
    "aws:s3/bucketVersioning:BucketVersioning",
    {"bucket": "data", "versioningConfiguration": {"status": "Enabled"}},
    "versioning",
    links={"bucket": [BUCKET]},
)
STATUS = "versioningConfiguration.status"

CASES = Cases(
    buckets_versioned,
    passing=[
        stack(BUCKET, VERSIONING),
        stack(resource("aws:s3/bucket:Bucket", {"versioning": {"enabled": True}})),
        stack(),
    ],
    failing=[
        gone("versioning"),
        put(STATUS, "Suspended", "versioning"),
        drop(STATUS, "versioning"),
        stack(BUCKET, VERSIONING, resource("aws:s3/bucket:Bucket", {"bucket": "logs"}, "logs")),
    ],
    unknown=[put(STATUS, UNKNOWN, "versioning")],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_buckets_versioned(case: Case) -> None:
    case.check()
