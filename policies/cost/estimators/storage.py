"""Buckets, images, tables."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import Charge, NotEstimated, Surroundings, used
from policies.node import Resource


def bucket(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    usage = around.usage
    yield used(f"{usage.bucket_gb:g} GB", "s3.gb", usage.bucket_gb)
    yield used(f"{usage.bucket_puts:,.10g} writes", "s3.put", usage.bucket_puts)
    yield used(f"{usage.bucket_gets:,.10g} reads", "s3.get", usage.bucket_gets)


def repository(_resource: Resource, around: Surroundings) -> Iterator[Charge]:
    yield used(f"{around.usage.image_gb:g} GB of images", "ecr.gb", around.usage.image_gb)


def table(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Paid by the request; kept once more where it can be recovered to any time."""
    if resource.get("billingMode", "PROVISIONED") != "PAY_PER_REQUEST":
        raise NotEstimated("a table with provisioned capacity")
    usage = around.usage
    yield used(f"{usage.table_gb:g} GB", "dynamodb.gb", usage.table_gb)
    yield used(f"{usage.table_reads:,.10g} read units", "dynamodb.read", usage.table_reads)
    yield used(f"{usage.table_writes:,.10g} write units", "dynamodb.write", usage.table_writes)
    if resource.get("pointInTimeRecovery.enabled", False):
        yield used(f"{usage.table_gb:g} GB for recovery", "dynamodb.pitr", usage.table_gb)
