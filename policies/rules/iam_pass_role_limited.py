"""``iam-pass-role-limited``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.iam import documents, listed
from policies.reading.statement import covers, narrowed_by
from policies.rule import Resource, Severity, Violation, rule

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[^*?]+")


@rule(
    "iam-pass-role-limited",
    "aws:iam/*",
    group="identity",
    severity=Severity.CRITICAL,
    remedy="Statement(('iam:PassRole',), [role_arn], "
    "conditions={'StringEquals': {'iam:PassedToService': 'ecs-tasks.amazonaws.com'}})",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
)
def iam_pass_role_limited(resource: Resource) -> Iterable[Violation]:
    """Whoever may pass roles may pass those that are named, to the services that are named."""
    for document in documents(resource):
        if document.names_no_resource:
            continue
        for statement in document.allowed():
            if covers(statement, "iam:PassRole"):
                yield from _of(statement)


def _of(statement: Node) -> Iterator[Violation]:
    for role in listed(statement.get("Resource")):
        if not isinstance(role, str) or not ROLE.fullmatch(role):
            yield statement.violation("Resource", "ARNs of roles without a wildcard, for iam:PassRole", role)
    if not narrowed_by(statement, {"iam:passedtoservice"}):
        yield statement.violation(
            "Condition", "StringEquals of iam:PassedToService and a service", statement.get("Condition")
        )
