"""``ecr-expires-images``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

REPOSITORY = "aws:ecr/repository:Repository"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"


@stack_rule(
    "ecr-expires-images",
    REPOSITORY,
    LIFECYCLE,
    group="images",
    severity=Severity.LOW,
    remedy="aws.ecr.LifecyclePolicy(name, repository=repository.name, policy=...), with a rule that expires images",
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html",
)
def ecr_expires_images(stack: Stack) -> Iterable[Violation]:
    """Each repository lets old images go by a lifecycle policy."""
    return each_held(stack.of_type(REPOSITORY), partial(_of_repository, stack))


def _of_repository(stack: Stack, repository: Resource) -> Iterable[Violation]:
    policies = [each for each in stack.of_type(LIFECYCLE) if _is_of(each, repository)]
    if not any(_expires(each) for each in policies):
        got = "one that expires nothing" if policies else "none"
        yield Violation("", "a lifecycle policy that expires images", got, repository.urn)


def _is_of(policy: Resource, repository: Resource) -> bool:
    """By where its name comes from, or by the name itself where it is written out."""
    links = policy.links.get("repository", ())
    return repository.urn in links if links else policy.get("repository") == repository.get("name", repository.name)


def _expires(policy: Resource) -> bool:
    rules = policy.document("policy")
    return rules is not None and any(each.get("action.type") == "expire" for each in rules.each("rules"))
