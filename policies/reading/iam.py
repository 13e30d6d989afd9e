"""IAM's policies, wherever a resource has one.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.node import UNKNOWN, Node, Resource, unknown_at
from policies.reading.walk import last, nodes

PROPERTIES = frozenset({"policy", "assumeRolePolicy", "accessPolicies", "policyDocument", "resourcePolicy"})
"""Properties that hold a policy, so that one whose ``Statement`` is misspelt is found too."""

OTHER_POLICIES = frozenset({"aws:ecr/lifecyclePolicy:LifecyclePolicy", "aws:appautoscaling/policy:Policy"})
"""These have a ``policy`` that isn't IAM's."""

OF_ITS_RESOURCE = frozenset({"aws:ecr/repositoryPolicy:RepositoryPolicy"})
"""Policies that speak of the one thing that they are put on, and name no resource."""

OF_KMS_KEY = frozenset({"aws:kms/key:Key", "aws:kms/keyPolicy:KeyPolicy"})
"""In a key's own policy ``*`` is that key, and nothing else can be written there.
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html"""


@dataclass(frozen=True)
class Document:
    """One policy. ``type``: of the resource that has it; ``node``: the whole document."""

    type: str
    node: Node

    @property
    def is_trust(self) -> bool:
        return last(self.node.path) == "assumeRolePolicy"

    @property
    def names_no_resource(self) -> bool:
        return self.is_trust or self.type in OF_ITS_RESOURCE

    @property
    def is_of_kms_key(self) -> bool:
        return self.type in OF_KMS_KEY

    def statements(self) -> list[Node]:
        return [each for each in self.node.each("Statement") if isinstance(each.value, dict)]

    def allowed(self) -> list[Node]:
        """The statements that allow something."""
        return [each for each in self.statements() if each.get("Effect") == "Allow"]


def documents(resource: Resource) -> Iterator[Document]:
    """The policies in a resource's inputs.

    Raises:
        UnknownValueError: a property that holds a policy isn't known. The policies that are known come before.
    """
    type_ = resource.type
    if type_ in OTHER_POLICIES or not type_.startswith("aws:"):
        return
    unknown = text = ""
    for path, value in nodes(resource.value):
        if value is UNKNOWN and last(path) in PROPERTIES:
            unknown = unknown or path
        elif isinstance(value, str):
            found = Node(value, path, resource.urn).document()
            if found is not None and _is_policy(found):
                text = path
                yield Document(type_, found)
        elif isinstance(value, dict) and "Statement" in value and path != text:
            # The SDK takes a mapping for the text.
            yield Document(type_, Node(value, path, resource.urn))
    if unknown:
        raise unknown_at(unknown)


def _is_policy(found: Node) -> bool:
    return isinstance(found.value, dict) and ("Statement" in found.value or last(found.path) in PROPERTIES)


def listed(value: Any) -> list[Any]:
    """IAM takes a text for a list of one."""
    return value if isinstance(value, list) else [value]
