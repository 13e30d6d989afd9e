"""Terraform's AWS provider, as ``terraform providers schema -json`` describes it, in Pulumi's names."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from infra.check.sdk import camel

TYPES = {"aws:s3/bucketObjectv2:BucketObjectv2": "aws_s3_object"}
"""Pulumi's token → Terraform's type, where the words alone don't give it."""

MODULES = {"costexplorer": "ce", "rds": "db", "servicediscovery": "service_discovery"}
"""Pulumi's module → Terraform's word for it, where they differ."""

PROPERTIES = {
    ("aws_cloudwatch_metric_alarm", "alarm_name"): "name",
    ("aws_lambda_function", "filename"): "code",
    ("aws_lambda_function", "function_name"): "name",
    ("aws_lambda_permission", "function_name"): "function",
    ("aws_sns_topic_subscription", "topic_arn"): "topic",
}
"""(Terraform's type, its attribute) → Pulumi's property, where they differ by more than their spelling."""


def snake(name: str) -> str:
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def plural(name: str) -> str:
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    if re.search(r"(ss|x|ch|sh)$", name):
        return name + "es"
    return name if name.endswith("s") else name + "s"


class Schema:
    """``document``: the answer of ``terraform providers schema -json``."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        provider = next(iter(document["provider_schemas"].values()))
        self.resources: Mapping[str, Any] = provider["resource_schemas"]

    def type_of(self, token: str) -> str | None:
        """``aws:s3/bucket:Bucket`` → ``aws_s3_bucket``; none where the provider has no such resource."""
        if token in TYPES:
            return TYPES[token]
        _, module, class_ = token.split(":")
        module = snake(module.split("/")[0])
        module = MODULES.get(module, module)
        name = snake(class_)
        likely = (f"aws_{module}_{name}", f"aws_{name}", f"aws_{module}")
        return next((each for each in likely if each in self.resources), None)

    def block(self, type_: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.resources[type_]["block"]
        return found


def property_of(type_: str, attribute: str, known: Container[str]) -> str | None:
    """The one of ``known``, Pulumi's property names, that is this attribute or block of Terraform's."""
    return next((name for name in candidates(type_, attribute) if name in known), None)


def candidates(type_: str, attribute: str) -> tuple[str, ...]:
    """What the attribute or block may be called in Pulumi, the likeliest first."""
    special = PROPERTIES.get((type_, attribute))
    if special is not None:
        return (special,)
    # A list of at most one is a plain value in Pulumi, any other list has a plural's name.
    return (camel(attribute), camel(plural(attribute)), camel(attribute.removesuffix("s")))
