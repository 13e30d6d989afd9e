"""How many nodes hold what is to be placed: each thing on the first that has room for it, the order as given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

TOLERANCE = 1e-6
"""Shares such as 0.1 are not exact in binary."""

Amounts = Sequence[float]


def packed(things: Iterable[tuple[Amounts, int]], node: Amounts) -> int:
    """``things``: what one asks for, and how many there are; such that fit on no node are left out."""
    nodes: list[tuple[Amounts, int]] = []
    for ask, count in things:
        if _fitting(node, ask) < 1:
            continue
        left: list[tuple[Amounts, int]] = []
        for free, number in nodes:
            more, count = _filled(free, number, ask, count)
            left += more
        if count:
            left += _filled(node, max(1, math.ceil(count / _fitting(node, ask))), ask, count)[0]
        nodes = left
    return sum(number for _, number in nodes)


def _fitting(free: Amounts, ask: Amounts) -> float:
    """How many there is room for."""
    shares = [math.floor(has / wants + TOLERANCE) for has, wants in zip(free, ask, strict=True) if wants > 0]
    return max(0, min(shares, default=math.inf))


def _filled(free: Amounts, number: int, ask: Amounts, count: int) -> tuple[list[tuple[Amounts, int]], int]:
    """So many alike nodes with as many of ``count`` on them as fit, and how many are left."""
    each = _fitting(free, ask)
    if not each or not count:
        return [(free, number)], count
    full = min(number, int(count // each)) if math.isfinite(each) else 0
    found = [(_less(free, ask, each), full)] if full else []
    count -= full * int(each) if full else 0
    if count and full < number:
        found.append((_less(free, ask, count), 1))
        full, count = full + 1, 0
    return [*found, *([(free, number - full)] if number > full else [])], count


def _less(free: Amounts, ask: Amounts, count: float) -> Amounts:
    return [has - count * wants for has, wants in zip(free, ask, strict=True)]
