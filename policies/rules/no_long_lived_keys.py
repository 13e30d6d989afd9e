"""``no-long-lived-keys``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.rule import Resource, Severity, Violation, rule

LONG_LIVED = frozenset(
    {
        "aws:iam/accessKey:AccessKey",
        "aws:iam/serviceSpecificCredential:ServiceSpecificCredential",
        "aws:iam/signingCertificate:SigningCertificate",
        "aws:iam/sshKey:SshKey",
        "aws:iam/user:User",
        "aws:iam/userGroupMembership:UserGroupMembership",
        "aws:iam/userLoginProfile:UserLoginProfile",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    }
)
"""Users, and what lets one of them in until somebody takes it away."""

LISTS_USERS = frozenset({"aws:iam/groupMembership:GroupMembership", "aws:iam/policyAttachment:PolicyAttachment"})


@rule(
    "no-long-lived-keys",
    "aws:iam/*",
    group="identity",
    severity=Severity.CRITICAL,
    remedy="infra.aws.iam.role(...), which a service, a pod or a person of your identity provider takes on",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html#bp-workloads-use-roles",
)
def no_long_lived_keys(resource: Resource) -> Iterable[Violation]:
    """No IAM user is made, and no access key or password of one: what needs access takes a role on."""
    if resource.type in LONG_LIVED:
        yield resource.violation("", "a role, whose credentials end by themselves", resource.type)
    elif resource.type in LISTS_USERS:
        yield from resource.require("users", "no users", lambda users: not users)
