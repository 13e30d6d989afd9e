"""What an estimator gives: quantities of a month, each with the key of its price."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from policies.cost.usage import Usage
from policies.node import Node, Resource, Stack

HOURS = 730.0
"""Of a month, as the clouds' calculators have it."""

SECONDS = HOURS * 3600
DAYS = HOURS / 24

NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:vCPU|GB)?\s*", re.IGNORECASE | re.ASCII)


class NotEstimated(Exception):
    """What a resource costs can't be said: the text says why."""


@dataclass(frozen=True)
class Charge:
    """``idle`` and ``full``: units in a month, of the price ``price``; ``full`` is at least ``idle``.

    ``share``: of that price, where the resource is sold for a share of it.
    """

    what: str
    price: str
    idle: float
    full: float
    share: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What an estimator knows beside the resource."""

    stack: Stack
    usage: Usage


Estimator = Callable[[Resource, Surroundings], Iterable[Charge]]


def number(node: Node, path: str, default: float | None = None) -> float:
    """The number at ``path``, which may be a text such as ``4096``, ``16 vCPU`` or ``64 GB``.

    Raises:
        UnknownValueError: it isn't known.
        NotEstimated: it is none.
    """
    value = node.get(path)
    if value is None:
        if default is None:
            raise NotEstimated(f"{path} is not given")
        return default
    if isinstance(value, bool):
        raise NotEstimated(f"{path} is {value}, expected a number")
    if isinstance(value, int | float):
        return float(value)
    found = NUMBER.fullmatch(str(value))
    if found is None:
        raise NotEstimated(f"{path} is {value!r}, expected a number")
    return float(found[1])


def always(what: str, price: str, units: float = HOURS, share: str = "") -> Charge:
    """Costs the same whether it is used or not."""
    return Charge(what, price, units, units, share)


def used(what: str, price: str, units: float) -> Charge:
    """Costs nothing while it isn't used."""
    return Charge(what, price, 0.0, units)


def spread(least: float, most: float) -> str:
    """``2`` or ``2–6``."""
    return f"{least:g}" if least == most else f"{least:g}–{most:g}"


def one(found: Iterable[Resource], what: str) -> Resource:
    """Raises:
    NotEstimated: there is none, or more than one.
    """
    found = list(found)
    if len(found) != 1:
        raise NotEstimated(f"{len(found)} resources are its {what}, expected one")
    return found[0]


def disks(template: Resource, least: float, most: float) -> Iterator[Charge]:
    """The volumes of a launch template's instances."""
    for each in template.each("blockDeviceMappings"):
        kind = str(each.get("ebs.volumeType", "gp2"))
        size = number(each, "ebs.volumeSize")
        name = f"{spread(least, most)} disks of {size:g} GB"
        yield Charge(name, f"ebs.{kind}", least * size, most * size)
        for path, included, unit in (("ebs.iops", 3000.0, "iops"), ("ebs.throughput", 125.0, "throughput")):
            beyond = max(0.0, number(each, path, included) - included)
            if kind == "gp3" and beyond:
                yield Charge(f"{name}: {unit}", f"ebs.gp3.{unit}", least * beyond, most * beyond)
