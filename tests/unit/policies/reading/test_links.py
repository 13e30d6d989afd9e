"""What a property is to another resource of the stack."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN, Resource
from policies.reading.links import comes_from
from policies.rule import UnknownValueError
from policies.testing import resource, stack

BUCKET = resource("aws:s3/bucket:Bucket", {"bucket": "data"}, "bucket")
ANOTHER = resource("aws:s3/bucket:Bucket", {"bucket": "another"}, "another")
POLICY = resource("aws:s3/bucketPolicy:BucketPolicy", {}, "policy", links={"bucket": [BUCKET]})


def holds(each: Resource) -> bool:
    return comes_from(stack(BUCKET, ANOTHER, POLICY, each), each, "logs.bucket", BUCKET, "bucket")


def logging(bucket: object, *links: Resource) -> Resource:
    return resource("aws:s3/bucketLogging:BucketLogging", {"logs": {"bucket": bucket}}, "it", links={"logs": links})


def test_it_comes_from_the_resource_itself() -> None:
    assert holds(logging(UNKNOWN, BUCKET))


def test_it_comes_by_way_of_a_third_resource() -> None:
    assert holds(logging(UNKNOWN, POLICY))


def test_it_is_the_name_of_the_resource() -> None:
    assert holds(logging("data"))


@pytest.mark.parametrize("each", [logging(UNKNOWN, ANOTHER), logging("another"), logging(None), logging(["data"])])
def test_it_is_another_or_nothing(each: Resource) -> None:
    assert not holds(each)


def test_it_is_not_known_yet() -> None:
    with pytest.raises(UnknownValueError):
        holds(logging(UNKNOWN))
