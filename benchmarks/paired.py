"""Two contestants that work in turns: how the one stands to the other, and how sure that is.

A machine's pace changes by more from minute to minute than what is looked for. A round's two turns follow each other,
so the ratio within a round is free of most of that, and the interval says what the rest leaves open.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and between what it lies with a confidence of 95 %.

    Fewer than six rounds can't give that: then ``low`` and ``high`` are the least and the greatest ratio.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """``ours`` and ``theirs``: what each measured, by round.

    The interval is of order statistics, and takes nothing for granted about how the ratios are spread (H. A. David and
    H. N. Nagaraja, Order Statistics, 3rd edition, section 7.1).

    Raises:
        ValueError: there are none, or not as many of the one as of the other.
    """
    ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
    if not ratios:
        raise ValueError("nothing was measured")
    outside = _outside(len(ratios))
    return Ratio(statistics.median(ratios), ratios[outside], ratios[-1 - outside])


def _outside(count: int) -> int:
    """How many of ``count`` ratios may be left out at either end, so that the median still lies between the others."""
    left, rarer = 0, 1
    while 2 * (rarer := rarer + math.comb(count, left + 1)) <= (1 - CONFIDENCE) * 2**count:
        left += 1
    return left
