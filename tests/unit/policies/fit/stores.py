"""What a small stack keeps: keys, models and features."""

from __future__ import annotations

import json

from policies.node import Resource
from policies.testing import resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/{name}"
BUCKET = "artifacts"
SECRET = "/mtd/dev/api-keys"
TABLE = "features"


def stores() -> list[Resource]:
    return [
        resource("aws:secretsmanager/secret:Secret", {"name": SECRET, "kmsKeyId": KEY.format(name="secrets")}, "keys"),
        resource(
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            {
                "bucket": BUCKET,
                "rules": [
                    {"applyServerSideEncryptionByDefault": {"kmsMasterKeyId": KEY.format(name="data")}},
                ],
            },
            "encryption",
        ),
        resource(
            "aws:dynamodb/table:Table",
            {"name": TABLE, "serverSideEncryption": {"kmsKeyArn": KEY.format(name="data")}},
            "features",
        ),
        resource(
            "aws:rds/instance:Instance",
            {"dbName": "usage", "masterUserSecretKmsKeyId": KEY.format(name="secrets")},
            "ledger",
        ),
        resource(
            "aws:ecs/taskDefinition:TaskDefinition",
            {
                "containerDefinitions": json.dumps(
                    [
                        {
                            "name": "mlflow",
                            "environment": [{"name": "MLFLOW_ARTIFACTS_DESTINATION", "value": f"s3://{BUCKET}/mlflow"}],
                        }
                    ]
                )
            },
            "tracking",
        ),
    ]
