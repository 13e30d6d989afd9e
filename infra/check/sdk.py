"""What the classes of Pulumi's SDKs say of their own properties."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pulumi

ResourceClass = type[pulumi.Resource]


def camel(name: str) -> str:
    """Python's or Terraform's name of a property as Pulumi's."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def is_optional(type_: Any) -> bool:
    return type(None) in typing.get_args(type_)


def required(type_: Any) -> Any:
    rest = [each for each in typing.get_args(type_) if each is not type(None)]
    return rest[0] if is_optional(type_) and len(rest) == 1 else type_


def properties_of(class_: type) -> tuple[tuple[str, Any], ...]:
    """Pulumi's names of a class's properties and their types."""
    # A class is hashable, which its type doesn't say.
    key: Any = class_
    return _properties(key)


@cache
def _properties(class_: Any) -> tuple[tuple[str, Any], ...]:
    found = []
    for base in class_.__mro__:
        for each in vars(base).values():
            name = getattr(getattr(each, "fget", None), "_pulumi_name", None)
            if name is not None:
                found.append((name, typing.get_type_hints(each.fget)["return"]))
    return tuple(found)


def outputs_of(class_: ResourceClass | None) -> list[tuple[str, Any]]:
    if class_ is None:
        return []
    return [
        (name, typing.get_args(type_)[0])
        for name, type_ in properties_of(class_)
        if typing.get_origin(type_) is pulumi.Output
    ]


def is_output_class(type_: Any) -> bool:
    return isinstance(type_, type) and hasattr(type_, "_pulumi_output_type")


def fitted(value: Any, type_: Any) -> Any:
    """An input as the output of its name: Azure takes a list of identities and gives a mapping by identity."""
    type_ = required(type_)
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (dict, Mapping) and isinstance(value, list):
        return {str(each): {} for each in value}
    if origin in (list, Sequence) and isinstance(value, list):
        return [fitted(each, arguments[0]) for each in value]
    if is_output_class(type_) and isinstance(value, dict):
        types = dict(properties_of(type_))
        return {key: fitted(each, types[key]) if key in types else each for key, each in value.items()}
    return value
