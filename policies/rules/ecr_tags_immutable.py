"""``ecr-tags-immutable``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule


def _keep(inputs: MutableMapping[str, Any]) -> None:
    inputs["imageTagMutability"] = "IMMUTABLE"
    inputs.pop("imageTagMutabilityExclusionFilters", None)


@rule(
    "ecr-tags-immutable",
    "aws:ecr/repository:Repository",
    group="images",
    severity=Severity.HIGH,
    remedy='image_tag_mutability="IMMUTABLE"',
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html",
    fix=_keep,
)
def ecr_tags_immutable(repository: Resource) -> Iterable[Violation]:
    """A tag names the same image for ever."""
    return repository.expect("imageTagMutability", "IMMUTABLE")
