"""What one key, or one model, has left of its limits in this replica."""

from __future__ import annotations

import sys

from serve.caller import Limits
from serve.gateway.errors import RateLimited
from serve.limits.bucket import SLACK, Bucket
from serve.limits.messages import Kind, Others

RETRY_SECONDS = 1.0
"""When to try again at a limit of concurrency: nobody knows when a request will be done."""

NO_LIMIT = sys.maxsize
WHOLE = 1 - SLACK


class Entry:
    """The buckets and the slots of one key or model. ``room``: how many may run here."""

    __slots__ = (
        "batch_rows",
        "counts",
        "kind",
        "limits",
        "name",
        "others",
        "others_requests",
        "others_rows",
        "reported_at",
        "requests",
        "room",
        "rows",
        "running",
        "seen",
        "share",
        "touched",
        "whose",
    )

    def __init__(self, kind: Kind, name: str, whose: str, limits: Limits, now: float) -> None:
        self.kind: Kind = kind
        self.name = name
        self.whose = whose
        self.running = 0
        self.others = 0
        self.others_requests = 0
        self.others_rows = 0
        self.share = 1
        self.touched = False
        self.seen = now
        self.reported_at = now
        self.requests: Bucket | None = None
        self.rows: Bucket | None = None
        self.apply(limits, 1, now)

    def apply(self, limits: Limits, replicas: int, now: float) -> None:
        """Take these limits from now on; what is used stays used."""
        self.limits = limits
        self.requests = self._bucket(self.requests, limits.requests_per_second, now)
        self.rows = self._bucket(self.rows, limits.rows_per_second, now)
        self.counts = limits.concurrency is not None
        self.batch_rows = NO_LIMIT if limits.batch_rows is None else limits.batch_rows
        self.make_room(replicas)

    def _bucket(self, bucket: Bucket | None, rate: float | None, now: float) -> Bucket | None:
        if rate is None:
            return None
        if bucket is None:
            bucket = Bucket(rate, now)
            bucket.divide(self.share, now)
        elif bucket.whole != rate:
            bucket.change(rate, now)
        return bucket

    def make_room(self, replicas: int) -> None:
        """Work out how many may run here. A replica's equal part is always its own, whatever others hold.

        Without that a replica whose slots are taken again as soon as they are free would starve the others.
        """
        limit = self.limits.concurrency
        if limit is None:
            self.room = NO_LIMIT
        elif self.share > 1:
            self.room = max(1, limit // self.share)
        else:
            self.room = max(limit - self.others, limit // replicas)

    def divide(self, share: int, replicas: int, now: float) -> None:
        """Go on with one of ``share`` equal parts of every limit; 1: with the whole, shared."""
        self.share = share
        if self.requests is not None:
            self.requests.divide(share, now)
        if self.rows is not None:
            self.rows.divide(share, now)
        self.make_room(replicas)

    def hear(self, news: Others, replicas: int, now: float) -> None:
        """Take what the other replicas spent into account."""
        # Where nobody else spends, this replica's own bucket knows better: the coordinator hears late. Where others
        # do, only one bucket may count: a replica whose own stayed a little lower than theirs would starve.
        before = (0, 0) if news.first else (self.others_requests, self.others_rows)
        if before != (news.requests, news.rows):
            if self.requests is not None and news.level_requests is not None:
                self.requests.set_level(news.level_requests - self.requests.spent, now)
            if self.rows is not None and news.level_rows is not None:
                self.rows.set_level(news.level_rows - self.rows.spent, now)
        self.others_requests = news.requests
        self.others_rows = news.rows
        self.others = news.running
        self.make_room(replicas)

    def forget_others(self, replicas: int) -> None:
        """Nothing was heard of this entry for long: what others run is not known any more."""
        self.others = 0
        self.make_room(replicas)

    # The three below have Bucket.take in them, not a call of it: a call costs as much as what it does.

    def start(self, now: float) -> None:
        """Take a request and a slot.

        Raises:
            RateLimited: a limit is reached. Nothing is taken then.
        """
        bucket = self.requests
        if bucket is None:
            if self.running >= self.room:
                raise self._full()
        else:
            level = bucket.level
            if now > bucket.at:
                level += (now - bucket.at) * bucket.rate
                if level > bucket.burst:
                    level = bucket.burst
                bucket.level = level
                bucket.at = now
            if level < WHOLE:
                raise RateLimited(self.whose, f"{bucket.whole:g} requests per second", bucket.wait(1, now))
            if self.running >= self.room:
                raise self._full()
            bucket.level = level - 1
            bucket.spent += 1
        self.running += 1

    def _full(self) -> RateLimited:
        return RateLimited(self.whose, f"{self.limits.concurrency} requests at once", RETRY_SECONDS)

    def undo_start(self) -> None:
        """Give back what :meth:`start` just took, where it turns out that the request is not let in."""
        if self.requests is not None:
            self.requests.level += 1
            self.requests.spent -= 1
        self.running -= 1

    def take_rows(self, n: int, now: float) -> None:
        """Take rows.

        Raises:
            RateLimited: the limit of rows is reached. Nothing is taken then.
        """
        bucket = self.rows
        if bucket is None:
            return
        level = bucket.level
        if now > bucket.at:
            level += (now - bucket.at) * bucket.rate
            if level > bucket.burst:
                level = bucket.burst
            bucket.level = level
            bucket.at = now
        if level < n - SLACK and level < bucket.burst - SLACK:
            raise RateLimited(self.whose, f"{bucket.whole:g} rows per second", bucket.wait(n, now))
        bucket.level = level - n
        bucket.spent += n

    def undo_rows(self, n: int) -> None:
        """Give back what :meth:`take_rows` just took."""
        if self.rows is not None:
            self.rows.level += n
            self.rows.spent -= n

    def idle(self, now: float) -> bool:
        """Whether nothing runs and every bucket is full: as good as a new entry."""
        return not (
            self.running
            or (self.requests is not None and self.requests.wait(NO_LIMIT, now))
            or (self.rows is not None and self.rows.wait(NO_LIMIT, now))
        )
