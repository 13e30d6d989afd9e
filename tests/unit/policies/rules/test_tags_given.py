"""``tags-given``."""

from __future__ import annotations

import pytest

from policies.rules.tags_given import tags_given
from policies.testing import Case, Cases, drop, put, resource

TAGS = {"project": "test", "stack": "test", "owner": "ml", "managed-by": "pulumi"}
LISTED = [{"key": key, "value": value, "propagateAtLaunch": True} for key, value in TAGS.items()]
BUCKET = resource("aws:s3/bucket:Bucket", {"tags": TAGS})
GROUP = "aws:autoscaling/group:Group"

CASES = [
    Cases(
        tags_given,
        passing=[
            BUCKET,
            resource(GROUP, {"tags": LISTED}),
            resource("azure-native:app:ContainerApp", {"tags": {**TAGS, "Name": "app"}}),
            resource("aws:iam/rolePolicy:RolePolicy", {}),
            resource("azure-native:authorization:RoleAssignment", {}),
            resource("aws:new/thing:Thing", {}),
        ],
        failing=[
            drop("tags"),
            drop("tags.owner"),
            put("tags.stack", "prod"),
            put("tags.project", "other"),
            put("tags", ["owner"]),
            resource(GROUP, {"tags": LISTED[1:]}),
            resource("azure-native:app:ContainerApp", {}),
            resource("aws:new/thing:Thing", {"tags": {}}),
        ],
        unknown=["tags", "tags.stack"],
    ),
    Cases(
        tags_given,
        passing=[resource("aws:s3/bucket:Bucket", {"tags": {"cost": "ml"}})],
        failing=[put("tags", TAGS)],
        config={"keys": ["cost"]},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_tags_given(case: Case) -> None:
    case.check()
