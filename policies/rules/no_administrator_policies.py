"""``no-administrator-policies``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from policies.rule import Resource, RuleConfig, Severity, Violation, rule

ROLE = "aws:iam/role:Role"
ATTACHMENTS = (
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
)
WIDE = re.compile(
    r"arn:aws[a-z-]*:iam::aws:policy/(?:.*/)?(?:AdministratorAccess|PowerUserAccess|IAMFullAccess|.*FullAccess)"
)
"""Of AWS's own policies, by the names that AWS gives them."""


class Administrators(RuleConfig):
    """``allowed``: ARNs of such policies that may be attached all the same."""

    allowed: tuple[str, ...] = ()


@rule(
    "no-administrator-policies",
    *ATTACHMENTS,
    ROLE,
    group="identity",
    severity=Severity.CRITICAL,
    remedy="infra.aws.iam.role(...) with a Statement of what is called, and of the ARNs that it is called on",
    source="https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess.html",
    config=Administrators,
)
def no_administrator_policies(resource: Resource, config: Administrators) -> Iterable[Violation]:
    """None of AWS's own policies is attached that allows all of an account or of a service."""
    for each in resource.each("managedPolicyArns" if resource.type == ROLE else "policyArn"):
        arn = str(each.get())
        if WIDE.fullmatch(arn) and arn not in config.allowed:
            yield each.violation("", "a policy that names its actions and ARNs", arn)
