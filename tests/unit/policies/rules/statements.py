"""Resources with one statement in their policy, for the tests of rules that read policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from policies.node import Resource
from policies.testing import resource


def policy(statement: Mapping[str, Any], **changes: Any) -> str:
    """``changes``: keys of the statement; one of None is left out."""
    changed = {key: value for key, value in {**statement, **changes}.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [changed]})


def role_policy(statement: Mapping[str, Any], **changes: Any) -> Resource:
    return resource("aws:iam/rolePolicy:RolePolicy", {"role": "it", "policy": policy(statement, **changes)})


def role(statement: Mapping[str, Any], **changes: Any) -> Resource:
    return resource("aws:iam/role:Role", {"assumeRolePolicy": policy(statement, **changes)})
