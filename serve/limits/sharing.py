"""Limits that several replicas share, without a call on a request's path.

Every ``INTERVAL_SECONDS`` a replica with traffic tells the coordinator what it spent and hears what the others
did, and takes that off its own buckets. Let ``N`` be the replicas and ``A`` the seconds until the others act on a
take: at most ``2 * (interval * (1 + JITTER) + round trip) + LATE_SECONDS``, about 0.36 s on one network. Then:

- Over any window of ``W`` seconds all replicas together let in at most
  ``rate * W + burst + (N - 1) * (burst + rate * A)``; ``burst`` is ``max(rate, 1)``, or the largest batch if that
  has more rows. The last term is the overshoot: each of the others may have emptied a bucket that was full to
  its knowledge. It is debt then, which all pay before any lets in more, so in the long run the rate is kept. A
  replica that saw nothing of a key for ``FORGET_SECONDS`` starts from what it knew, which may be a full bucket:
  each such return may add its ``burst``.
- At most ``N * limit`` requests run at once. A free slot counts as free to all for up to ``A`` seconds after one
  took it; no replica starts a request while it knows of ``limit`` that run, save to fill its own equal part
  (``limit // N``, so a limit below ``N`` may stay with whoever holds it).
- Where the coordinator does not answer (an error, or nothing within a second) a replica holds to ``1 / N`` of each
  limit, ``N`` being the replicas that are configured or that were last known, whichever is more. (One that was
  idle finds out with its first exchange, at most a second after its first request.) If all do, they
  let in ``rate * W + max(burst, N)``. If ``k`` of them are cut off while the others are not, those ``k`` add
  ``rate * W * k / N`` at most; what they spent in the last ``FORGET_SECONDS`` or less is paid later.
- What is taken is never given back, not even where the request fails later.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from random import Random

from serve.limits.coordinator import FORGET_SECONDS
from serve.limits.entry import Entry
from serve.limits.limiter import Limiter
from serve.limits.messages import Reply, Report, Use

# Debits, not grants: grants never overshoot, but refuse a key that comes by one connection to one replica what
# its limit allows, and a limit of fewer than N whole requests per second can't be granted to N replicas.

INTERVAL_SECONDS = 0.1
JITTER = 0.25
"""How much of the interval is left to chance, either way. Without it replicas keep step for long, and in overload
the one that always hears last of the others' spending gets more (by a tenth or two, in the simulation)."""

STALE_SECONDS = 1.0
"""News older than this is none: so long may an exchange take, with the wait before it."""

logger = logging.getLogger("ray.serve")


class Sharing:
    """One replica's side of the exchange. ``interval``: seconds, well below ``STALE_SECONDS``."""

    def __init__(self, limiter: Limiter, interval: float = INTERVAL_SECONDS, chance: Random | None = None) -> None:
        self._limiter = limiter
        self._interval = interval
        self._chance = Random() if chance is None else chance  # noqa: S311 - no secret
        self._number = 0
        self._base = 0
        self._again = True
        self._lost_since: float | None = None
        self._quiet_from = -math.inf
        self._sent: list[tuple[Entry, int, int]] = []
        # What the coordinator believes to be running here.
        self._held: dict[Entry, None] = {}
        self._resend = False
        limiter.start_tracking()

    async def run(
        self, exchange: Callable[[Report], Awaitable[Reply]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Exchange until cancelled. ``exchange`` may raise anything; ``clock`` is the one of the limiter's callers."""
        alone = False
        while True:
            await asyncio.sleep(self.pause())
            report = self.report(clock())
            if report is None:
                continue
            try:
                within = STALE_SECONDS - self._interval * (1 + JITTER)
                self.heard(await asyncio.wait_for(_awaited(exchange, report), within), clock())
            except Exception as error:  # noqa: BLE001 - whatever it is, this replica goes on alone
                if not alone:
                    logger.warning("limits: the coordinator does not answer, each replica holds to its part: %r", error)
                alone = True
                self.lost(clock())
                continue
            if alone:
                logger.info("limits: the coordinator answers again")
            alone = False

    def pause(self) -> float:
        """Seconds from the end of one exchange to the next."""
        return self._interval * self._chance.uniform(1 - JITTER, 1 + JITTER)

    def report(self, now: float) -> Report | None:
        """What to tell now; ``None`` where nothing ran and nothing was asked for lately.

        Each report is followed by :meth:`heard` or :meth:`lost`, before the next one.
        """
        asked = self._limiter.tracked()
        if asked:
            self._quiet_from = now + FORGET_SECONDS
        entries = dict.fromkeys(asked)
        entries.update(dict.fromkeys(entry for entry, _, _ in self._sent))
        if self._again or self._resend:
            entries.update(self._held)
        if not entries and not self._held and now >= self._quiet_from:
            return None
        self._sent = []
        self._number += 1
        return Report(self._number, self._base, self._again, tuple(self._use(entry, now) for entry in entries))

    def _use(self, entry: Entry, now: float) -> Use:
        requests = 0 if entry.requests is None else entry.requests.spent
        rows = 0 if entry.rows is None else entry.rows.spent
        running = entry.running if entry.counts else 0
        entry.reported_at = now
        self._sent.append((entry, requests, rows))
        if running:
            self._held[entry] = None
        else:
            self._held.pop(entry, None)
        limits = entry.limits
        return Use(entry.kind, entry.name, requests, rows, running, limits.requests_per_second, limits.rows_per_second)

    def heard(self, reply: Reply, now: float) -> None:
        """Take the reply to the last report."""
        for entry, requests, rows in self._sent:
            _forget_spent(entry, requests, rows)
        self._sent = []
        # A coordinator that was restarted, or had forgotten this replica, does not know what runs here.
        self._resend = reply.new and not self._again
        self._base = reply.number
        self._again = False
        self._lost_since = None
        self._limiter.shared_with(reply.replicas)
        for news in reply.news:
            if (known := self._limiter.find(news.kind, news.name, now)) is not None:
                known.hear(news, self._limiter.replicas, now)

    def lost(self, now: float) -> None:
        """Take it that no reply to the last report comes."""
        self._again = True
        self._limiter.alone()
        if self._lost_since is None:
            self._lost_since = now
        elif now - self._lost_since > FORGET_SECONDS:
            # It was this replica's own part. As a debt of all it would close them for as long as the others were away.
            for entry, requests, rows in self._sent:
                _forget_spent(entry, requests, rows)
            self._sent = []


def _forget_spent(entry: Entry, requests: int, rows: int) -> None:
    if entry.requests is not None:
        entry.requests.spent = max(0, entry.requests.spent - requests)
    if entry.rows is not None:
        entry.rows.spent = max(0, entry.rows.spent - rows)


async def _awaited(exchange: Callable[[Report], Awaitable[Reply]], report: Report) -> Reply:
    return await exchange(report)
