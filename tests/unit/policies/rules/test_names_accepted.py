"""``names-accepted``."""

from __future__ import annotations

import pytest

from policies.rules.names_accepted import NAMES, names_accepted
from policies.testing import Case, Cases, drop, put, resource

REFUSED = {
    "aws:ecr/repository:Repository": "MTD/serve",
    "aws:s3/bucket:Bucket": "10.0.0.1",
    "aws:s3/bucketV2:BucketV2": "Ours",
    "aws:lb/loadBalancer:LoadBalancer": "internal-ours",
    "aws:lb/targetGroup:TargetGroup": "x" * 33,
    "aws:lambda/function:Function": "our function",
    "aws:dynamodb/table:Table": "it",
    "aws:sqs/queue:Queue": "x" * 81,
    "aws:sns/topic:Topic": "ours.standard",
    "aws:sfn/stateMachine:StateMachine": "x" * 81,
    "aws:iam/role:Role": "x" * 65,
    "aws:kms/alias:Alias": "alias/aws/ours",
    "aws:ecs/cluster:Cluster": "our cluster",
    "aws:ecs/capacityProvider:CapacityProvider": "ecs-ours",
    "aws:rds/instance:Instance": "our--database",
    "aws:eks/cluster:Cluster": "_ours",
    "aws:cloudwatch/logGroup:LogGroup": "our logs",
    "aws:secretsmanager/secret:Secret": "ours-abcdef",
}

CASES = Cases(
    names_accepted,
    passing=[
        resource("aws:ecr/repository:Repository", {"name": "mtd-dev/serve-gpu"}),
        resource("aws:s3/bucket:Bucket", {"bucket": "mtd-dev-logs-123456789012"}),
        resource("aws:sqs/queue:Queue", {"name": "ours.fifo"}),
        resource("aws:kms/alias:Alias", {"name": "alias/mtd-dev-data"}),
        resource("aws:secretsmanager/secret:Secret", {"name": "/ml-training-deployment/dev/api-keys"}),
    ],
    failing=[
        put("name", "MTD/serve"),
        put("name", ["serve"]),
        *(resource(type_, {NAMES[type_][0]: name}) for type_, name in REFUSED.items()),
    ],
    unknown=["name"],
)


def test_each_service_has_a_name_that_it_refuses() -> None:
    assert set(REFUSED) == set(NAMES)


def test_without_a_name_pulumi_makes_one() -> None:
    unnamed = drop("name").of(CASES.passing[0])
    Case(names_accepted, unnamed, "passing", "no name").check()


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_names_accepted(case: Case) -> None:
    case.check()
