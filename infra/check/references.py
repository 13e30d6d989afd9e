"""Outputs that stay references: what a program does with them can be written down as Terraform again."""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from infra.check.placeholders import Placeholders
from infra.check.record import Made
from infra.check.schema import Schema, candidates
from infra.check.sdk import is_output_class, outputs_of, properties_of, required

OPEN, CLOSE = "@@TF{", "}@@"
REFERENCE = re.compile(re.escape(OPEN) + r"(.*?)" + re.escape(CLOSE))
FIRST_NUMBER = 7_310_000_001
"""References that are numbers have numbers as their signs, from here on: no size, port or count is so large."""

DEEPEST = 4


def reference(expression: str) -> str:
    return f"{OPEN}{expression}{CLOSE}"


def address(type_: str, name: str) -> str:
    return f"{type_}.{re.sub(r'[^A-Za-z0-9_-]', '_', name)}"


class References:
    """Every output is a sign for Terraform's expression of it.

    ``stand_ins``: expression → what it would look like, for references to what is not applied.
    """

    def __init__(self, schema: Schema, region: str) -> None:
        self._schema = schema
        self._plain = Placeholders(region)
        self._numbers = itertools.count(FIRST_NUMBER)
        self.numbers: dict[int, str] = {}
        self.stand_ins: dict[str, Any] = {}

    def made(self, made: Made) -> tuple[str, dict[str, Any]]:
        id_, looks = self._plain.made(made)
        type_ = self._schema.type_of(made.type) if made.type.startswith("aws:") else None
        if type_ is None:
            return id_, looks
        base = address(type_, made.name)
        block = self._schema.block(type_)
        self.stand_ins[f"{base}.id"] = id_
        state: dict[str, Any] = {}
        for name, of in outputs_of(made.class_):
            found = self._found(type_, block, name)
            if found is None or (name in made.inputs and not isinstance(made.inputs[name], dict)):
                continue
            attribute, kind = found
            value = self._value(type_, required(of), kind, f"{base}.{attribute}", 0)
            if value is not None:
                state[name] = value
                self.stand_ins[f"{base}.{attribute}"] = looks.get(name)
        return reference(f"{base}.id"), state

    def call(self, token: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return self._plain.call(token, args)

    @staticmethod
    def _found(type_: str, block: Mapping[str, Any], name: str) -> tuple[str, Any] | None:
        """The computed attribute, or the block, that is this property; with its type or the block."""
        for attribute, described in block.get("attributes", {}).items():
            if name in candidates(type_, attribute) and described.get("computed"):
                return attribute, described.get("type", described.get("nested_type"))
        for each, described in block.get("block_types", {}).items():
            if name in candidates(type_, each):
                return each, described
        return None

    def _value(self, type_: str, of: Any, kind: Any, expression: str, depth: int) -> Any:
        if depth > DEEPEST or kind is None:
            return None
        if of in (int, float):
            number = next(self._numbers)
            self.numbers[number] = expression
            return number if of is int else float(number)
        if of is str:
            return reference(_single(kind, expression))
        if of is bool:
            return None
        if typing.get_origin(of) in (list, Sequence):
            inner = self._value(type_, typing.get_args(of)[0], _element(kind), _first(kind, expression), depth + 1)
            return None if inner is None else [inner]
        if is_output_class(of):
            return self._nested(type_, of, kind, expression, depth)
        return None

    def _nested(self, type_: str, of: type, kind: Any, expression: str, depth: int) -> dict[str, Any] | None:
        if _is_list(kind):
            kind, expression = _element(kind), _first(kind, expression)
        members = _members(kind)
        found = {}
        for name, inner in properties_of(of):
            for member, member_kind in members.items():
                if name in candidates(type_, member):
                    value = self._value(type_, required(inner), member_kind, f"{expression}.{member}", depth + 1)
                    if value is not None:
                        found[name] = value
        return found or None


def _is_list(kind: Any) -> bool:
    if isinstance(kind, list):
        return kind[0] in ("list", "set")
    return isinstance(kind, dict) and kind.get("nesting_mode") in ("list", "set")


def _is_set(kind: Any) -> bool:
    return bool((kind[0] if isinstance(kind, list) else kind.get("nesting_mode")) == "set")


def _first(kind: Any, expression: str) -> str:
    return f"tolist({expression})[0]" if _is_set(kind) else f"{expression}[0]"


def _single(kind: Any, expression: str) -> str:
    return _first(kind, expression) if _is_list(kind) else expression


def _element(kind: Any) -> Any:
    if isinstance(kind, list):
        return kind[1]
    if isinstance(kind, dict):
        return {**kind, "nesting_mode": "single"}
    return None


def _members(kind: Any) -> dict[str, Any]:
    """Of an object type, a nested type or a block: member → its type. Of a block, what is computed alone."""
    if isinstance(kind, list) and kind[0] == "object":
        return dict(kind[1])
    if not isinstance(kind, dict):
        return {}
    inner = kind.get("block", kind)
    found = {
        name: each.get("type", each.get("nested_type"))
        for name, each in inner.get("attributes", {}).items()
        if each.get("computed")
    }
    return {**found, **inner.get("block_types", {})}
