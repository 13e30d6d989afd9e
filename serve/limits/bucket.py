"""A token bucket: a rate, a burst, and debt.

The algorithm is the one of ITU-T I.371 and RFC 2697 (https://www.rfc-editor.org/rfc/rfc2697), with
tokens filled in when somebody looks, so that no timer runs.
"""

from __future__ import annotations

LEAST_BURST = 1.0
SLACK = 1e-9
"""Tokens by which a sum of floats may fall short of a whole one."""


class Bucket:
    """Tokens at ``rate`` per second, up to a burst of one second's worth and at least one token.

    Of more tokens than the bucket holds a plain bucket would never let go: more are given while it is full, and it
    goes into debt, so that the rate holds in the long run. Over any ``W`` seconds at most
    ``rate * W + max(burst, the largest take)`` are taken. Under steady smaller takes it is never full, and
    then so large a take waits: the limit on the rows of a batch is for those.

    Times are monotonic seconds and come from outside; one before the last is taken for the last.
    ``late``: this bucket hears of takes so many seconds later, and keeps what comes in meanwhile on top of the burst.
    ``spent`` counts what was taken here and not yet shared (see ``sharing``).
    """

    __slots__ = ("at", "burst", "late", "level", "rate", "share", "shown", "spent", "whole")

    def __init__(self, rate: float, now: float, late: float = 0.0) -> None:
        self.whole = rate
        self.late = late
        self.rate = rate
        self.burst = max(LEAST_BURST, rate) + rate * late
        self.level = self.burst
        self.at = now
        self.share = 1
        self.spent = 0
        self.shown = (f"{rate:.0f}" if float(rate).is_integer() else f"{rate:.6g}").encode("ascii")

    def wait(self, n: int, now: float) -> float:
        """Seconds until ``n`` tokens could be taken; 0: now. Takes none."""
        level = self.level
        if now > self.at:
            level += (now - self.at) * self.rate
            if level > self.burst:
                level = self.burst
            self.level = level
            self.at = now
        if level >= n - SLACK or level >= self.burst - SLACK:
            return 0.0
        return (min(n, self.burst) - level) / self.rate

    def spend(self, n: int) -> None:
        """Take ``n`` tokens that :meth:`wait` said are there."""
        self.level -= n
        self.spent += n

    def take(self, n: int, now: float) -> float:
        """Take ``n`` tokens. 0 if they were taken, else the seconds until they could be."""
        if wait := self.wait(n, now):
            return wait
        self.spend(n)
        return 0.0

    def debit(self, n: float, now: float) -> None:
        """Take off what others took."""
        self.wait(0, now)
        self.level -= n

    def set_level(self, level: float, now: float) -> None:
        """Know better how many tokens there are; fewer than none is debt."""
        self.at = max(now, self.at)
        self.level = min(level, self.burst)

    def divide(self, share: int, now: float) -> None:
        """Go on as one of ``share`` equal parts of the whole bucket, tokens and debt with it."""
        self.wait(0, now)
        level = self.level * self.share / share
        self.share = share
        self.rate = self.whole / share
        self.burst = max(LEAST_BURST, self.rate) + self.rate * self.late
        self.level = min(level, self.burst)

    def change(self, rate: float, now: float) -> None:
        """Have another rate; what is missing from the burst stays missing."""
        share = self.share
        self.divide(1, now)
        missing = self.burst - self.level
        spent = self.spent
        self.__init__(rate, now, self.late)  # type: ignore[misc]
        self.level -= missing
        self.spent = spent
        self.divide(share, now)

    def remaining(self) -> int:
        """Whole tokens there, as of the last look."""
        return int(self.level + SLACK) if self.level > 0 else 0

    def reset(self) -> float:
        """Seconds until it is full, from the last look."""
        return (self.burst - self.level) / self.rate
