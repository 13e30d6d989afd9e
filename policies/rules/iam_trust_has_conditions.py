"""``iam-trust-has-conditions``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from policies.node import Node
from policies.reading.iam import documents
from policies.reading.statement import is_everybody, is_fixed, narrowed_by, needs, principals
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

SOURCE = frozenset({"aws:sourceaccount", "aws:sourcearn"})
CALLER = frozenset({"aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths"})

NO_SOURCE: Mapping[str, str] = {
    # An instance takes on the role of its own profile, whose account passed it: AWS shows it without a condition.
    "ec2.amazonaws.com": "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html",
}
"""Service that says no source when it takes a role on → where its trust policy is shown so."""

AUDIENCE = {
    # A federation by SAML has no sub that is there for each.
    "saml-provider/": "saml:aud",
    # The sub of an identity pool is a person: the pool is named by its audience.
    "cognito-identity.amazonaws.com": "cognito-identity.amazonaws.com:aud",
}
"""Part of a federated principal's name → the key that says for whom its tokens are."""

COLONS = 3
"""After these the namespace is over: ``system:serviceaccount:serving:*``."""


class TrustConfig(RuleConfig):
    """``no_source``: services whose trust needs no source. ``accounts``: ids whose roles need no external id."""

    no_source: tuple[str, ...] = tuple(NO_SOURCE)
    accounts: tuple[str, ...] = ()


@rule(
    "iam-trust-has-conditions",
    "aws:iam/role:Role",
    group="identity",
    severity=Severity.HIGH,
    remedy="assume_role_policy=infra.aws.iam.trust('lambda.amazonaws.com', account.id)",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
    config=TrustConfig,
)
def iam_trust_has_conditions(role: Resource, config: TrustConfig) -> Iterable[Violation]:
    """A role is taken on for this account's own sake: by a service for a source, by others with what marks them."""
    for document in documents(role):
        if document.is_trust:
            for statement in document.allowed():
                yield from _of(statement, config)


def _of(statement: Node, config: TrustConfig) -> Iterator[Violation]:
    found = list(principals(statement))
    if not found:
        yield statement.violation("Principal", "who may take the role on", statement.get("NotPrincipal"))
    for kind, name in found:
        expected = _missing(statement, kind, name, config)
        if expected:
            got = statement.get("Condition") or "no condition"
            yield statement.violation("Condition", f"{expected}, for {name}", got)


def _missing(statement: Node, kind: str, name: str, config: TrustConfig) -> str:
    """What the statement would need for this principal and hasn't; empty where it has it."""
    if kind == "Service":
        held = name in config.no_source or narrowed_by(statement, SOURCE)
        return "" if held else "aws:SourceAccount or aws:SourceArn"
    if kind == "Federated":
        for part, key in AUDIENCE.items():
            if part in name:
                return "" if narrowed_by(statement, {key}) else key
        return "" if any(_names_subject(key, values) for key, values in needs(statement)) else "the token's sub"
    if narrowed_by(statement, CALLER):
        return ""
    if is_everybody(name):
        return "aws:PrincipalAccount or aws:PrincipalOrgID"
    held = _account(name) in config.accounts or narrowed_by(statement, {"sts:externalid"})
    return "" if held else "sts:ExternalId"


def _names_subject(key: str, values: list[str]) -> bool:
    """A part of it may be open, such as a branch, but not whose it is: ``repo:our*`` is not ours alone."""
    return key.endswith(":sub") and bool(values) and all(_names_owner(each) for each in values)


def _names_owner(subject: str) -> bool:
    known = re.split(r"[*?]|\$\{", subject)[0]
    return is_fixed(subject) or "/" in known or known.count(":") >= COLONS


def _account(name: str) -> str:
    parts = name.split(":")
    return parts[4] if len(parts) > 5 else name
