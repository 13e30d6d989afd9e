"""The values of a resource as a rule reads them: by path, and never past what isn't known yet.

During a preview the values that the cloud will give are unknown. A rule that reads one raises
:class:`UnknownValueError`, which the pack reports; it never passes in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.reading.walk import children, document, join

STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
"""Stands where a preview doesn't know the value."""


@dataclass(frozen=True)
class Violation:
    """``path``: of the property, such as ``policy.Statement[0].Action``; empty for the resource as a whole.

    ``urn``: of the resource, where a rule of the whole stack names one.
    """

    path: str
    expected: str
    got: Any
    urn: str = ""

    def __str__(self) -> str:
        shown = " ".join((self.got if isinstance(self.got, str) else repr(self.got)).split())
        shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
        return f"{f'{self.path}: ' if self.path else ''}expected {self.expected}, got {shown or 'nothing'}"


LONGEST = 200


@dataclass(frozen=True)
class Node:
    """A value, and where in its resource it is. Values are plain: mappings, lists, texts, numbers, None.

    ``urn``: of the resource.
    """

    value: Any
    path: str = ""
    urn: str = ""

    def at(self, path: str) -> Node:
        """The node below; one of None where there is none.

        Raises:
            UnknownValueError: the way there leads through a value that isn't known.
        """
        value = self.value
        where = self.path
        for step in STEP.findall(path):
            if value is UNKNOWN:
                raise unknown_at(where)
            if step.startswith("["):
                where += step
                index = int(step[1:-1])
                value = value[index] if isinstance(value, list) and index < len(value) else None
            else:
                where = join(where, step)
                value = value.get(step) if isinstance(value, Mapping) else None
        return Node(value, where, self.urn)

    def get(self, path: str = "", default: Any = None) -> Any:
        """The plain value at ``path``, or ``default`` where there is none.

        Raises:
            UnknownValueError: it, or something in it, isn't known.
        """
        found = self.at(path)
        for where, each in _all(found.value, found.path):
            if each is UNKNOWN:
                raise unknown_at(where)
        return default if found.value is None else found.value

    def each(self, path: str = "") -> Iterator[Node]:
        """The elements of the list at ``path``; of none there are none. A value that is no list is one element.

        Raises:
            UnknownValueError: the list isn't known. What is in an element may be.
        """
        found = self.at(path)
        if found.value is UNKNOWN:
            raise unknown_at(found.path)
        if isinstance(found.value, list):
            yield from (Node(each, f"{found.path}[{index}]", self.urn) for index, each in enumerate(found.value))
        elif found.value is not None:
            yield found

    def document(self, path: str = "") -> Node | None:
        """The JSON in the text at ``path``, which goes on with that path; None where there is none.

        Raises:
            UnknownValueError: the text isn't known.
        """
        found = self.at(path)
        if found.value is UNKNOWN:
            raise unknown_at(found.path)
        inner = document(found.value)
        return None if inner is None else Node(inner, found.path, self.urn)

    def expect(self, path: str, *values: Any) -> Iterator[Violation]:
        """A violation unless the value at ``path`` is one of these."""
        got = self.get(path)
        if got not in values:
            yield self.violation(path, " or ".join(str(value) for value in values), got)

    def require(self, path: str, expected: str, holds: Callable[[Any], bool] = bool) -> Iterator[Violation]:
        """A violation unless the value at ``path`` is what ``expected`` says in words."""
        got = self.get(path)
        if not holds(got):
            yield self.violation(path, expected, got)

    def violation(self, path: str, expected: str, got: Any) -> Violation:
        return Violation(join(self.path, path) if path else self.path, expected, got, self.urn)


@dataclass(frozen=True)
class Resource(Node):
    """One resource. ``value``: its inputs, in camelCase.

    ``links``: property → URNs of the resources that its value comes from, for rules of a whole stack.
    """

    type: str = ""
    name: str = ""
    protect: bool = False
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.type} {self.name}"


@dataclass(frozen=True)
class Stack:
    """All resources of a stack."""

    resources: tuple[Resource, ...]

    def of_type(self, *types: str) -> tuple[Resource, ...]:
        return tuple(each for each in self.resources if each.type in types)

    def linked(self, resource: Resource, path: str, *types: str) -> tuple[Resource, ...]:
        """The resources of ``types`` that the property ``path`` of ``resource`` comes from."""
        urns = resource.links.get(path, ())
        return tuple(each for each in self.of_type(*types) if each.urn in urns)

    def linking(self, to: Resource, path: str, *types: str) -> tuple[Resource, ...]:
        """The resources of ``types`` whose property ``path`` comes from ``to``."""
        return tuple(each for each in self.of_type(*types) if to.urn in each.links.get(path, ()))


def unknown_at(path: str) -> UnknownValueError:
    return UnknownValueError(UNKNOWN_STRING_VALUE, [path])


def _all(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    for where, each in children(value, path):
        yield from _all(each, where)
