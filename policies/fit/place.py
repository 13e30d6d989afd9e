"""A place where something is served: what the stack would make for it, as its checks read it.

The values are read when a check asks for them, so that one that a preview doesn't know stops that check alone.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from policies.fit.demand import Actor
from policies.fit.misfit import Change, Misfit
from policies.fit.size import Room
from policies.node import Node, Resource, Stack
from serve.settings import TEXT_VARIABLE, Settings, SettingsText, read_settings

SERVING = "the serving settings"

OBJECT_STORE_VARIABLE = "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"
OBJECT_STORE_SHARE = 0.3
"""Ray's default. https://docs.ray.io/en/latest/ray-core/scheduling/memory-management.html"""


@dataclass(frozen=True)
class Wire:
    """One end that must agree with the settings: a port, or the path of a health check."""

    name: str
    value: Any
    node: Node
    urn: str


@dataclass(frozen=True)
class Place(ABC):
    """``resource``: that which the place is called by. ``kind``: in words."""

    stack: Stack
    resource: Resource

    kind: ClassVar[str]
    on_ray: ClassVar[bool] = True
    """Whether replicas are placed by Ray; else one process has the one model."""

    is_cluster: ClassVar[bool] = False
    """Whether its rooms are nodes of one Ray; else each room is a Ray of its own, with all replicas in it."""

    has_hosts: ClassVar[bool] = False
    """Whether the rooms lie on machines that the stack makes."""

    @property
    def label(self) -> str:
        return f"{self.kind} {self.resource.name}"

    @property
    def file(self) -> str:
        """Of the stack's settings."""
        return f"Pulumi.{_stack_name(self.resource.urn)}.yaml"

    @functools.cached_property
    def settings(self) -> Settings:
        """What the container will read.

        Raises:
            SettingsError: it would refuse it.
            UnknownValueError: the text isn't known.
        """
        return _read(str(self.text.get()))

    @property
    def text(self) -> Node:
        return self.variable(TEXT_VARIABLE)

    @abstractmethod
    def variable(self, name: str) -> Node:
        """Of the container's environment; a node of None where it has no such."""

    @property
    @abstractmethod
    def image(self) -> Node:
        """Its name with the tag."""

    def images(self) -> Iterator[tuple[Node, bool]]:
        """Every image, and whether it runs where GPUs are."""
        yield self.image, any(room.gpus > 0 for room in self.rooms())

    @abstractmethod
    def rooms(self) -> Sequence[Room]:
        """Every kind of room. A place that is no cluster has one."""

    @abstractmethod
    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
        """The smallest change after which the room has what all of them ask for; none where there is no such."""

    def roles(self) -> Sequence[Resource]:
        """The IAM roles that its code has."""
        return ()

    def ports(self) -> Iterator[Wire]:
        """Where requests come in."""
        return iter(())

    def health(self) -> Iterator[Wire]:
        """Paths that say whether it is ready."""
        return iter(())

    def object_store_mib(self, room: Room) -> float:
        """What Ray keeps from declared memory; its default where the container says nothing."""
        told = self.variable(OBJECT_STORE_VARIABLE).get()
        try:
            return float(told) / 2**20
        except (TypeError, ValueError):
            return room.memory_mib * OBJECT_STORE_SHARE

    def misfit(
        self, check: str, path: str, asks: str, got: str, expected: str, changes: Sequence[Change], otherwise: str = ""
    ) -> Misfit:
        return Misfit(path, expected, got, self.resource.urn, self.label, check, asks, tuple(changes), otherwise)

    def in_stack(self, path: str, value: Any) -> Change:
        return Change(self.file, path, value)

    def in_serving(self, path: str, value: Any) -> Change:
        return Change(SERVING, path, value)


@functools.lru_cache(maxsize=64)
def _read(text: str) -> Settings:
    return read_settings(SettingsText(text, SERVING))


def _stack_name(urn: str) -> str:
    """``urn:pulumi:STACK::PROJECT::TYPE::NAME``."""
    return urn.partition("::")[0].rpartition(":")[2] or "STACK"
