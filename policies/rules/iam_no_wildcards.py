"""``iam-no-wildcards``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from policies.node import Node
from policies.reading.iam import Document, documents, listed
from policies.reading.statement import principals
from policies.rule import Resource, Severity, Violation, rule

ALSO_STAR = frozenset({"xray:PutTraceSegments", "xray:PutTelemetryRecords"})
"""Take no ARN, by https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html."""

ARN_PARTS = 6
ALL_OF_KIND = re.compile(r"[a-z-]+[/:][*?]+")
"""``role/*``."""

INTERFACES = frozenset(
    {
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:UnassignPrivateIpAddresses",
    }
)
OF_INTERFACES = re.compile(r"arn:aws[a-z-]*:ec2:[a-z0-9-]+:\d{12}:\*/\*")
"""Lambda makes no function in a network whose role can't do these to whatever is of the region and the account.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions"""


@rule(
    "iam-no-wildcards",
    "aws:*",
    group="identity",
    severity=Severity.HIGH,
    remedy="name the actions, and the ARNs: Statement(('s3:GetObject',), [f'{bucket_arn}/models/*'])",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html#grant-least-privilege",
)
def iam_no_wildcards(resource: Resource) -> Iterable[Violation]:
    """What is allowed has no wildcard in its actions, and * for resources only where an action takes no ARN."""
    for document in documents(resource):
        for statement in document.allowed():
            yield from _of(document, statement)


def _of(document: Document, statement: Node) -> Iterator[Violation]:
    actions = [str(each) for each in listed(statement.get("Action", []))]
    if "NotAction" in statement.value:
        yield statement.violation("NotAction", "the actions that are allowed", statement.get("NotAction"))
    for action in actions:
        if _is_pattern(action) and not _administers_key(document, statement, action):
            yield statement.violation("Action", "actions by name", action)
    if document.names_no_resource or document.is_of_kms_key:
        return
    if "NotResource" in statement.value:
        yield statement.violation("NotResource", "the resources that are allowed", statement.get("NotResource"))
    wide = [
        each for each in listed(statement.get("Resource", [])) if _is_all(each) and not _is_for_lambda(each, actions)
    ]
    if wide:
        narrower = sorted(each for each in actions if not _is_pattern(each) and takes_arn(each))
        if narrower:
            yield statement.violation("Resource", f"ARNs, which {', '.join(narrower)} can take", wide[0])


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _is_all(resource: object) -> bool:
    """All there is, all of a service, or all of a kind in whichever account."""
    if not isinstance(resource, str) or "*" not in resource:
        return False
    parts = resource.split(":", 5)
    if len(parts) < ARN_PARTS:
        return not resource.strip("*?")
    return not parts[5].strip("*?/:") or (_is_pattern(parts[4]) and bool(ALL_OF_KIND.fullmatch(parts[5])))


def _is_for_lambda(resource: str, actions: list[str]) -> bool:
    return set(actions) <= INTERFACES and bool(OF_INTERFACES.fullmatch(resource))


def _administers_key(document: Document, statement: Node, action: str) -> bool:
    """AWS's own first statement: without it a key that nobody may manage is lost.

    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    names = list(principals(statement))
    root = bool(names) and all(kind == "AWS" and name.endswith(":root") for kind, name in names)
    return document.is_of_kms_key and action == "kms:*" and root


@cache
def takes_arn(action: str) -> bool:
    """Whether AWS documents a kind of resource for this action; where that isn't known: yes.

    parliament has AWS's list. Without parliament no action is known to take none, but for those above.
    """
    if action in ALSO_STAR:
        return False
    try:
        import parliament  # type: ignore[import-untyped]
    except ImportError:
        return True
    prefix, _, name = action.partition(":")
    for service in parliament.iam_definition:
        if service["prefix"] != prefix.lower():
            continue
        for privilege in service["privileges"]:
            if privilege["privilege"].lower() == name.lower():
                return any(each["resource_type"] for each in privilege["resource_types"])
    return True
