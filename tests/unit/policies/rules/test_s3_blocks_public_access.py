"""``s3-blocks-public-access``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.s3_blocks_public_access import s3_blocks_public_access
from policies.testing import Case, Cases, drop, gone, put, resource, stack

BUCKET = resource("aws:s3/bucket:Bucket", {"bucket": "data"}, "data")
TYPE = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ALL = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)
BLOCK = resource(TYPE, ALL, "block", links={"bucket": [BUCKET]})
BY_NAME = resource(TYPE, ALL | {"bucket": "data"}, "by-name")
OF_ANOTHER = resource(TYPE, ALL | {"bucket": "another"}, "of-another")

CASES = Cases(
    s3_blocks_public_access,
    passing=[stack(BUCKET, BLOCK), stack(BUCKET, BY_NAME), stack(OF_ANOTHER), stack()],
    failing=[
        gone("block"),
        stack(BUCKET, OF_ANOTHER),
        *(put(way, False, at="block") for way in ALL),
        *(drop(way, at="block") for way in ALL),
    ],
    unknown=[put("blockPublicPolicy", UNKNOWN, at="block")],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_s3_blocks_public_access(case: Case) -> None:
    case.check()
