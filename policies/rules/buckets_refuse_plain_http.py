"""``buckets-refuse-plain-http``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from policies.node import Node
from policies.reading.buckets import BUCKETS, of_bucket
from policies.reading.iam import listed
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

POLICY = "aws:s3/bucketPolicy:BucketPolicy"


@stack_rule(
    "buckets-refuse-plain-http",
    *BUCKETS,
    group="encryption in transit",
    severity=Severity.HIGH,
    remedy='aws.s3.BucketPolicy with a statement that denies "s3:*" to "*" on the bucket and all in it, '
    'where {"Bool": {"aws:SecureTransport": "false"}}',
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html",
)
def buckets_refuse_plain_http(stack: Stack) -> Iterator[Violation]:
    """Each bucket's policy refuses every call that doesn't come by TLS."""
    return each_held(stack.of_type(*BUCKETS), partial(_of_bucket, stack))


def _of_bucket(stack: Stack, bucket: Resource) -> Iterator[Violation]:
    policies = of_bucket(stack, bucket, POLICY)
    if not policies:
        yield Violation("", "a BucketPolicy of it", None, bucket.urn)
    for policy in policies:
        if not any(_refuses(each) for each in _statements(policy)):
            expected = "a statement that denies everybody s3:* where aws:SecureTransport is false"
            yield Violation("policy", expected, policy.get("policy"), policy.urn)


def _statements(policy: Resource) -> Iterator[Node]:
    document = policy.document("policy") or policy.at("policy")
    yield from document.each("Statement")


def _refuses(statement: Node) -> bool:
    return (
        statement.get("Effect") == "Deny"
        and _is_everybody(statement.get("Principal"))
        and any(each in ("s3:*", "*") for each in listed(statement.get("Action")))
        and _is_all_of_a_bucket(listed(statement.get("Resource")))
        and _is_without_tls(statement.get("Condition"))
    )


def _is_everybody(principal: Any) -> bool:
    return principal == "*" or (isinstance(principal, dict) and "*" in listed(principal.get("AWS")))


def _is_all_of_a_bucket(resources: list[Any]) -> bool:
    return "*" in resources or any(f"{each}/*" in resources for each in resources)


def _is_without_tls(condition: Any) -> bool:
    """And no more than that: each further condition lets something through."""
    if not isinstance(condition, dict) or len(condition) != 1:
        return False
    tested = condition.get("Bool", condition.get("BoolIfExists"))
    if not isinstance(tested, dict) or len(tested) != 1:
        return False
    [(key, value)] = tested.items()
    return str(key).lower() == "aws:securetransport" and [str(each).lower() for each in listed(value)] == ["false"]
