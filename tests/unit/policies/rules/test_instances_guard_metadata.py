"""``instances-guard-metadata``."""

from __future__ import annotations

import pytest

from policies.rules.instances_guard_metadata import instances_guard_metadata
from policies.testing import Case, Cases, drop, mended, put, resource

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
OPTIONS = {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}

CASES = [
    Cases(
        instances_guard_metadata,
        passing=[
            resource(TEMPLATE, {"metadataOptions": OPTIONS}),
            resource("aws:ec2/instance:Instance", {"metadataOptions": OPTIONS}),
            resource(CONFIGURATION, {"metadataOptions": OPTIONS}),
            resource(TEMPLATE, {"metadataOptions": {"httpEndpoint": "disabled"}}),
        ],
        failing=[
            put("metadataOptions.httpTokens", "optional"),
            drop("metadataOptions.httpTokens"),
            put("metadataOptions.httpPutResponseHopLimit", True),
            put("metadataOptions.httpPutResponseHopLimit", "many"),
            drop("metadataOptions.httpPutResponseHopLimit"),
            drop("metadataOptions"),
            resource(CONFIGURATION, {}),
        ],
        unknown=["metadataOptions", "metadataOptions.httpTokens", "metadataOptions.httpPutResponseHopLimit"],
        fixed=True,
    ),
    Cases(
        instances_guard_metadata,
        passing=[resource(TEMPLATE, {"metadataOptions": OPTIONS})],
        failing=[put("metadataOptions.httpPutResponseHopLimit", 2)],
    ),
    Cases(
        instances_guard_metadata,
        config={"most_hops": 2},
        passing=[resource(TEMPLATE, {"metadataOptions": OPTIONS | {"httpPutResponseHopLimit": 2}})],
        failing=[put("metadataOptions.httpPutResponseHopLimit", 3), put("metadataOptions.httpTokens", None)],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_instances_guard_metadata(case: Case) -> None:
    case.check()


def test_a_number_of_hops_that_is_given_is_left() -> None:
    """A stack's config may allow it."""
    options = {"httpTokens": "optional", "httpPutResponseHopLimit": 2}
    fixed = mended(instances_guard_metadata, resource(TEMPLATE, {"metadataOptions": options}))
    assert fixed.get("metadataOptions") == {"httpTokens": "required", "httpPutResponseHopLimit": 2}
