"""``data-protected``."""

from __future__ import annotations

import pytest

from policies.rules.data_protected import data_protected
from policies.testing import Case, Cases, drop, put, resource

DATABASE = resource("aws:rds/instance:Instance", {"deletionProtection": True, "skipFinalSnapshot": False}, protect=True)
VAULT = "azure-native:keyvault:Vault"

CASES = [
    Cases(
        data_protected,
        passing=[
            DATABASE,
            resource("aws:s3/bucket:Bucket", {}, protect=True),
            resource("aws:s3/bucketV2:BucketV2", {}, protect=True),
            resource("aws:dynamodb/table:Table", {"deletionProtectionEnabled": True}, protect=True),
            resource("aws:kms/key:Key", {}, protect=True),
            resource("aws:ecr/repository:Repository", {"forceDelete": False}),
            resource(VAULT, {"properties": {"enablePurgeProtection": True}}, protect=True),
        ],
        failing=[
            put("deletionProtection", False),
            drop("deletionProtection"),
            put("skipFinalSnapshot", True),
            resource("aws:s3/bucket:Bucket", {"forceDestroy": True}, protect=True),
            resource("aws:s3/bucket:Bucket", {"forceDestroy": False}),
            resource("aws:s3/bucketV2:BucketV2", {"forceDestroy": True}, protect=True),
            resource("aws:s3/bucketV2:BucketV2", {}),
            resource("aws:dynamodb/table:Table", {}, protect=True),
            resource("aws:kms/key:Key", {}),
            resource("aws:eks/cluster:Cluster", {}),
            resource("aws:ecr/repository:Repository", {"forceDelete": True}),
            resource(VAULT, {"properties": {}}, protect=True),
        ],
        unknown=["deletionProtection", "skipFinalSnapshot"],
    ),
    Cases(
        data_protected,
        passing=[resource("aws:s3/bucket:Bucket", {"forceDestroy": True}), resource("aws:rds/instance:Instance", {})],
        failing=[],
        config={"protect": False},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_data_protected(case: Case) -> None:
    case.check()
