"""``tags-given``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from policies.node import Node
from policies.reading.taggable import takes_tags
from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Tags(RuleConfig):
    keys: tuple[str, ...] = ("project", "stack", "owner", "managed-by")


@rule(
    "tags-given",
    "aws:*",
    "azure-native:*",
    group="operations",
    severity=Severity.MEDIUM,
    remedy="tag_everything(naming.tags(owner)) before the first resource; an autoscaling group's own list of tags",
    source="https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/cost-alloc-tags.html",
    config=Tags,
)
def tags_given(resource: Resource, config: Tags) -> Iterable[Violation]:
    """What takes tags has the stack's: costs are counted and things are found by them."""
    takes = takes_tags(resource.type)
    if takes is None:
        takes = resource.at("tags").value is not None
    if not takes:
        return
    given = _given(resource)
    expected = _of_urn(resource.urn)
    for key in config.keys:
        if key not in given:
            yield resource.violation("tags", f"the tag {key}", f"only {', '.join(sorted(given)) or 'none'}")
        elif key in expected and given[key].get() != expected[key]:
            yield given[key].violation("", expected[key], given[key].get())


def _given(resource: Resource) -> dict[str, Node]:
    """A mapping, or an autoscaling group's list of keys and values.

    Raises:
        UnknownValueError: they aren't known.
    """
    tags = resource.at("tags").value
    if isinstance(tags, dict):
        return {str(key): Node(value, f"tags.{key}") for key, value in tags.items()}
    return {str(each.get("key")): each.at("value") for each in resource.each("tags")}


def _of_urn(urn: str) -> Mapping[str, str]:
    """``urn:pulumi:STACK::PROJECT::TYPE::NAME``."""
    start, _, rest = urn.partition("::")
    return {"stack": start.rpartition(":")[2], "project": rest.partition("::")[0]} if rest else {}
