"""The stack's tags on whatever takes tags, so that no component can forget them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pulumi

TAGGED_OTHERWISE = frozenset({"aws:autoscaling/group:Group"})
"""These want a list of tags, which their component gives them."""


def tag_everything(tags: Mapping[str, str]) -> None:
    """Add ``tags`` to every AWS and Azure resource that is made from now on; a resource's own win."""

    def tagged(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith(("aws:", "azure-native:")) or args.type_ in TAGGED_OTHERWISE:
            return None
        # Each resource class of the SDKs has it, with the properties that the type takes.
        takes = inspect.signature(getattr(args.resource, "_internal_init")).parameters  # noqa: B009
        if "tags" not in takes:
            return None
        props: dict[str, Any] = dict(args.props)
        return pulumi.ResourceTransformationResult({**props, "tags": {**tags, **(props.get("tags") or {})}}, args.opts)

    pulumi.runtime.register_stack_transformation(tagged)
