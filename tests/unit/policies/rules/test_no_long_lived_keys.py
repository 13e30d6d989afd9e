"""``no-long-lived-keys``."""

from __future__ import annotations

import pytest

from policies.rules.no_long_lived_keys import no_long_lived_keys
from policies.testing import Case, Cases, put, resource

CASES = Cases(
    no_long_lived_keys,
    passing=[
        resource("aws:iam/policyAttachment:PolicyAttachment", {"policyArn": "it", "roles": ["it"], "users": []}),
        resource("aws:iam/role:Role", {"name": "it"}),
        resource("aws:iam/policy:Policy", {"policy": "{}"}),
    ],
    failing=[
        put("users", ["somebody"]),
        resource("aws:iam/accessKey:AccessKey", {"user": "somebody"}),
        resource("aws:iam/user:User", {}),
        resource("aws:iam/userLoginProfile:UserLoginProfile", {"user": "somebody"}),
        resource("aws:iam/groupMembership:GroupMembership", {"users": ["somebody"]}),
    ],
    unknown=["users"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_no_long_lived_keys(case: Case) -> None:
    case.check()
