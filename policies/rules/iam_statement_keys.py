"""``iam-statement-keys``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.iam import Document, documents
from policies.rule import Resource, Severity, Violation, rule

POLICY = frozenset({"Version", "Id", "Statement"})
STATEMENT = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
VERSION = "2012-10-17"


@rule(
    "iam-statement-keys",
    "aws:*",
    group="identity",
    severity=Severity.HIGH,
    remedy="make it by infra.aws.iam.policy([Statement(actions, resources)]), whose keys can't be misspelt",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html",
)
def iam_statement_keys(resource: Resource) -> Iterable[Violation]:
    """Every key of a policy is one of IAM's, none that is needed is missing, and the version is 2012-10-17."""
    for document in documents(resource):
        yield from _of(document)


def _of(document: Document) -> Iterator[Violation]:
    policy = document.node
    yield from _known(policy, POLICY)
    yield from policy.expect("Version", VERSION)
    statements = list(policy.each("Statement"))
    if not statements:
        yield policy.violation("Statement", "at least one statement", policy.get("Statement"))
    for statement in statements:
        if not isinstance(statement.value, dict):
            yield statement.violation("", "a statement", statement.get())
            continue
        yield from _known(statement, STATEMENT)
        yield from statement.expect("Effect", "Allow", "Deny")
        if not statement.value.keys() & {"Action", "NotAction"}:
            yield statement.violation("Action", "the actions", "none")
        if not document.names_no_resource and not statement.value.keys() & {"Resource", "NotResource"}:
            yield statement.violation("Resource", "the resources", "none")


def _known(node: Node, keys: frozenset[str]) -> Iterator[Violation]:
    for key in sorted(node.value.keys() - keys, key=str):
        yield node.violation(str(key), f"one of {', '.join(sorted(keys))}", key)
