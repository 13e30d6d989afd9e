"""Policies and roles, from statements whose keys can't be misspelt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account

VERSION = "2012-10-17"

Text = pulumi.Input[str]


@dataclass(frozen=True)
class Statement:
    """One statement of a policy. ``conditions``: operator → key → value or values."""

    actions: Sequence[str]
    resources: Sequence[Text]
    effect: str = "Allow"
    conditions: Mapping[str, Mapping[str, pulumi.Input[str | list[str]]]] = field(default_factory=dict)
    principals: Mapping[str, Sequence[Text]] | None = None

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"Effect": self.effect, "Action": list(self.actions)}
        if self.resources:
            found["Resource"] = list(self.resources)
        if self.principals is not None:
            found["Principal"] = {kind: list(names) for kind, names in self.principals.items()}
        if self.conditions:
            found["Condition"] = {operator: dict(keys) for operator, keys in self.conditions.items()}
        return found


def policy(statements: Sequence[Statement]) -> pulumi.Output[str]:
    """The JSON of a policy."""
    return pulumi.Output.json_dumps({"Version": VERSION, "Statement": [each.document() for each in statements]})


def trust(service: str, account: str, *, actions: Sequence[str] = ("sts:AssumeRole",)) -> str:
    """Who may take a role on: one service, and for this account alone (no confused deputy).

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": list(actions),
        "Principal": {"Service": [service]},
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return json.dumps({"Version": VERSION, "Statement": [statement]})


def uses_key(account: Account, key_arn: Text, actions: Sequence[str], *services: str) -> Statement:
    """For a role that uses a key by its calls of these services alone, such as ``s3``."""
    through = [f"{service}.{account.region}.amazonaws.com" for service in services]
    value = through[0] if len(through) == 1 else through
    return Statement(actions, [key_arn], conditions={"StringEquals": {"kms:ViaService": value}})


def by_tls_alone(actions: Sequence[str], resources: Sequence[Text]) -> Statement:
    """Of a resource's own policy: nobody may do this without TLS."""
    return Statement(
        actions,
        resources,
        effect="Deny",
        principals={"AWS": ["*"]},
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def role(
    name: str,
    physical_name: str,
    trusted: pulumi.Input[str],
    statements: Sequence[Statement],
    parent: pulumi.Resource,
    managed: Sequence[str] = (),
) -> aws.iam.Role:
    """A role with one inline policy of its own and, where AWS's own service asks for it, managed ones by ARN."""
    opts = pulumi.ResourceOptions(parent=parent)
    made = aws.iam.Role(name, name=physical_name, assume_role_policy=trusted, opts=opts)
    if statements:
        aws.iam.RolePolicy(name, role=made.id, policy=policy(statements), opts=opts)
    for arn in managed:
        label = arn.rpartition("/")[2]
        aws.iam.RolePolicyAttachment(f"{name}-{label}", role=made.name, policy_arn=arn, opts=opts)
    return made
