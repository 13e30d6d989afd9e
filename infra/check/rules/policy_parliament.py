"""Every policy as parliament reads it: actions that exist, resources that fit them, conditions that they know."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.check.finding import Finding
from infra.check.graph import stack_of
from infra.check.record import Recording
from policies.reading.iam import Document, documents, listed

SKIPPED = {
    "RESOURCE_STAR": "held against AWS's own list of what takes an ARN by the pack's rule iam-no-wildcards",
    "RESOURCE_EFFECTIVELY_STAR": "of a key's or a bucket's own policy, or the only form that its action takes",
    "MISMATCHED_TYPE_BUT_USABLE": "a text operator on an ARN compares it letter by letter, which is meant",
}
"""Parliament's issue → why it is not a finding."""

ALTERNATIVES = {
    "bedrock:InvokeModel": "a foundation model, an inference profile or another of its kinds, not all of them",
    "bedrock:InvokeModelWithResponseStream": "as bedrock:InvokeModel",
}
"""Action → which of its kinds of resource it needs: parliament wants each of them."""


def policy_parliament(recording: Recording) -> Iterator[Finding]:
    for resource in stack_of(recording).resources:
        for policy in documents(resource):
            yield from _of(resource.label, policy)


def _of(label: str, policy: Document) -> Iterator[Finding]:
    import parliament  # type: ignore[import-untyped]

    text = json.dumps(_whole(policy))
    try:
        found = parliament.analyze_policy_string(text).findings
    except Exception as error:  # noqa: BLE001  it raises what it likes, and silence would pass for a good policy
        yield Finding(label, policy.node.path, "a policy that parliament can read", str(error))
        return
    for each in found:
        if each.issue in SKIPPED:
            continue
        if each.issue == "RESOURCE_MISMATCH":
            each.detail = [one for one in each.detail if not _is_alternative(one, policy)]
            if policy.is_of_kms_key or not each.detail:
                continue
        expected = f"no {each.issue} of parliament's"
        yield Finding(label, policy.node.path, expected, str(each.detail or _place(each.location)))


def _whole(policy: Document) -> Any:
    """Parliament wants a resource of every statement, and not every policy names one."""
    document = copy.deepcopy(policy.node.value)
    if policy.names_no_resource:
        for statement in listed(document.get("Statement", [])):
            if isinstance(statement, dict):
                statement.setdefault("Resource", "*")
    return document


def _is_alternative(mismatch: Mapping[str, str], policy: Document) -> bool:
    """Whether every resource that the action is given is one of its kinds."""
    import parliament
    import parliament.statement  # type: ignore[import-untyped]

    action = mismatch["action"]
    if action not in ALTERNATIVES:
        return False
    privilege = parliament.statement.get_privilege_info(*action.split(":"))
    formats = [
        parliament.statement.get_arn_format(kind["resource_type"], privilege["service_resources"])
        for kind in privilege["resource_types"]
        if kind["resource_type"]
    ]
    given = [
        str(resource)
        for statement in policy.statements()
        if action in listed(statement.get("Action", []))
        for resource in listed(statement.get("Resource", []))
    ]
    return all(any(parliament.is_arn_match("", each, resource) for each in formats) for resource in given)


def _place(location: Any) -> str:
    return str(location.get("filepath") or location) if isinstance(location, dict) else str(location)
