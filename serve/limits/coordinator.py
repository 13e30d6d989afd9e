"""The one place where all replicas' spending is added up. ``ray.remote(Coordinator)`` makes it an actor."""

from __future__ import annotations

import time
from collections import OrderedDict

from serve.limits.bucket import Bucket
from serve.limits.messages import Kind, Others, Reply, Report, Use

FORGET_SECONDS = 2.0
"""A replica not heard of for so long is gone, and its running requests with it. An entry that a replica did
not report for so long is not told to it any more."""

LATE_SECONDS = 0.1
"""How late a report tells of a take, about: a bucket that was full until then would lose what came in since."""

UNUSED_SECONDS = 10.0
MOST_ENTRIES = 200_000
LOOKS_AT_ONCE = 50

_Key = tuple[Kind, str]
_NOTHING = (0, 0)


class _Total:
    """One entry, all replicas together."""

    __slots__ = ("by", "changed", "changed_before", "changed_by", "requests", "rows", "running", "seen", "spent")

    def __init__(self, now: float) -> None:
        self.requests: Bucket | None = None
        self.rows: Bucket | None = None
        self.spent = _NOTHING
        self.by: dict[str, tuple[int, int]] = {}
        self.running = 0
        self.changed = 0
        self.changed_by = ""
        self.changed_before = 0
        self.seen = now

    def spend(self, replica: str, use: Use, requests: int, rows: int, now: float) -> None:
        self.requests = _debited(self.requests, use.requests_per_second, requests, now)
        self.rows = _debited(self.rows, use.rows_per_second, rows, now)
        own = self.by.get(replica, _NOTHING)
        self.by[replica] = (own[0] + requests, own[1] + rows)
        self.spent = (self.spent[0] + requests, self.spent[1] + rows)

    def change(self, replica: str, number: int) -> None:
        if self.changed_by != replica:
            self.changed_before = self.changed
            self.changed_by = replica
        self.changed = number

    def changed_for(self, replica: str) -> int:
        """The number of the last exchange in which another replica changed this."""
        return self.changed_before if self.changed_by == replica else self.changed

    def unused(self, now: float) -> bool:
        return (
            self.running == 0
            and now - self.seen > UNUSED_SECONDS
            and all(bucket is None or not bucket.wait(1 << 62, now) for bucket in (self.requests, self.rows))
        )


def _debited(bucket: Bucket | None, rate: float | None, spent: int, now: float) -> Bucket | None:
    if rate is None:
        return None
    if bucket is None:
        bucket = Bucket(rate, now, LATE_SECONDS)
    elif bucket.whole != rate:
        bucket.change(rate, now)
    bucket.debit(spent, now)
    return bucket


class _Replica:
    """One replica, as last heard. ``counted``: what its reports on ``base`` said of spending; ``follows``: when
    it last reported an entry."""

    __slots__ = ("base", "counted", "follows", "heard", "number", "running", "told")

    def __init__(self, base: int) -> None:
        self.number = 0
        self.base = base
        self.told = 0
        self.heard = 0.0
        self.counted: dict[_Key, tuple[int, int]] = {}
        self.running: dict[_Key, int] = {}
        self.follows: dict[_Key, float] = {}


class Coordinator:
    """Adds up what the replicas report and tells each what the others did.

    A restarted one starts with full buckets and learns from the next reports what is running.
    """

    def __init__(self) -> None:
        self._number = 0
        self._replicas: dict[str, _Replica] = {}
        self._totals: OrderedDict[_Key, _Total] = OrderedDict()

    def exchange(self, replica_id: str, report: Report, now: float | None = None) -> Reply:
        """Take a replica's report and tell it what changed.

        ``replica_id`` is another one for each process that ever starts. ``now``: monotonic seconds of this
        process, its clock if ``None``: clocks of two machines can't be compared. A report that comes after
        a later one is dropped; one whose reply was lost may be sent again, with more in it.
        """
        now = time.monotonic() if now is None else now
        self._forget(now)
        self._number += 1
        replica = self._replicas.get(replica_id)
        new = replica is None
        if replica is None:
            replica = self._replicas[replica_id] = _Replica(report.base)
        if report.number <= replica.number:
            return Reply(self._number, len(self._replicas), False, ())
        replica.number = report.number
        replica.heard = now
        if report.base != replica.base:
            replica.base = report.base
            replica.counted.clear()
        for use in report.uses:
            self._add(replica_id, replica, use, now)
        news = self._news(replica_id, replica, {(use.kind, use.name) for use in report.uses}, new or report.again, now)
        replica.told = self._number
        self._drop_unused(now)
        return Reply(self._number, len(self._replicas), new, news)

    def _add(self, replica_id: str, replica: _Replica, use: Use, now: float) -> None:
        key = (use.kind, use.name)
        total = self._totals.get(key)
        if total is None:
            total = self._totals[key] = _Total(now)
        total.seen = now
        counted = replica.counted.get(key, _NOTHING)
        replica.counted[key] = (use.requests, use.rows)
        requests, rows = max(0, use.requests - counted[0]), max(0, use.rows - counted[1])
        started = use.running - replica.running.get(key, 0)
        total.spend(replica_id, use, requests, rows, now)
        if started:
            total.running += started
            replica.running[key] = use.running
            if not use.running:
                del replica.running[key]
        if requests or rows or started:
            total.change(replica_id, self._number)

    def _news(
        self, replica_id: str, replica: _Replica, reported: set[_Key], anew: bool, now: float
    ) -> tuple[Others, ...]:
        first = {key for key in reported if key not in replica.follows}
        replica.follows.update(dict.fromkeys(reported, now))
        for key in [key for key, at in replica.follows.items() if now - at > FORGET_SECONDS]:
            del replica.follows[key]
        news = []
        for key in replica.follows:
            total = self._totals.get(key)
            if total is None:
                continue
            is_first = anew or key in first
            if not is_first and total.changed_for(replica_id) <= replica.told:
                continue
            own = total.by.get(replica_id, _NOTHING)
            news.append(
                Others(
                    *key,
                    total.spent[0] - own[0],
                    total.spent[1] - own[1],
                    total.running - replica.running.get(key, 0),
                    None if total.requests is None else _level(total.requests, now),
                    None if total.rows is None else _level(total.rows, now),
                    is_first,
                )
            )
        return tuple(news)

    def _forget(self, now: float) -> None:
        for name in [name for name, known in self._replicas.items() if now - known.heard > FORGET_SECONDS]:
            for key, running in self._replicas.pop(name).running.items():
                total = self._totals[key]
                total.running -= running
                total.change(name, self._number + 1)

    def _drop_unused(self, now: float) -> None:
        for _ in range(min(LOOKS_AT_ONCE, len(self._totals))):
            key, total = self._totals.popitem(last=False)
            if not total.unused(now) and (total.running or len(self._totals) < MOST_ENTRIES):
                self._totals[key] = total


def _level(bucket: Bucket, now: float) -> float:
    bucket.wait(0, now)
    return bucket.level
