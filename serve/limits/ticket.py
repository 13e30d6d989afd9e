"""What a request that was let in holds, until it leaves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from serve.gateway.errors import InputRejected, RateLimited
from serve.limits.bucket import Bucket
from serve.limits.entry import Entry

if TYPE_CHECKING:
    from serve.limits.limiter import Limiter

Header = tuple[bytes, bytes]

_REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
_ROWS = (b"x-ratelimit-limit-rows", b"x-ratelimit-remaining-rows", b"x-ratelimit-reset-rows")
_CONCURRENCY = (b"x-ratelimit-limit-concurrency", b"x-ratelimit-remaining-concurrency")

_NUMBERS = tuple(b"%d" % number for number in range(1024))


class Ticket:
    """One request that was let in. ``now`` of its methods is the time of :meth:`Limiter.enter` where left out."""

    __slots__ = ("_key", "_left", "_limiter", "_model", "_name", "_now")

    def __init__(self, limiter: Limiter, key: Entry | None, model: Entry | None, name: str | None, now: float) -> None:
        self._limiter = limiter
        self._key = key
        self._model = model
        self._name = name
        self._now = now
        self._left = False

    def model(self, name: str, now: float | None = None) -> None:
        """Take a request and a slot of the model's limits, where the model was not known before.

        Raises:
            RateLimited: the model's limit is reached. What was taken of the key's stays taken.
        """
        if self._name is not None or self._left:
            return
        if now is None:
            now = self._now
        entry = self._limiter.model_entry(name)
        if entry is not None:
            self._limiter.look_at(entry, now)
            entry.start(now)
            self._model = entry
        self._name = name

    def rows(self, n: int, now: float | None = None) -> None:
        """Take ``n`` rows of the key's limits and of the model's.

        Raises:
            InputRejected: more rows than one batch may have.
            RateLimited: a limit of rows is reached. No rows are taken then; the request stays taken.
        """
        if now is None:
            now = self._now
        key, model = self._key, self._model
        if key is not None:
            if n > key.batch_rows:
                raise self._too_many(key, n)
            key.take_rows(n, now)
            if not key.touched:
                self._limiter.track(key)
        if model is not None:
            try:
                if n > model.batch_rows:
                    raise self._too_many(model, n)
                model.take_rows(n, now)
            except (RateLimited, InputRejected):
                if key is not None:
                    key.undo_rows(n)
                raise
            if not model.touched:
                self._limiter.track(model)

    def _too_many(self, entry: Entry, n: int) -> InputRejected:
        expected = f"at most {entry.batch_rows} rows in a batch for {entry.whose}"
        return InputRejected(self._name or "(default)", None, None, expected, f"{n} rows")

    @property
    def body_limit(self) -> int | None:
        """Bytes that the body may have: the smallest of the limits; ``None`` if there is none."""
        found = [
            entry.limits.body_bytes
            for entry in (self._key, self._model)
            if entry is not None and entry.limits.body_bytes is not None
        ]
        return min(found, default=None)

    def leave(self) -> None:
        """Give the slots back. Only the first call does."""
        if self._left:
            return
        self._left = True
        entry = self._key
        if entry is not None:
            entry.running -= 1
            if entry.counts and not entry.touched:
                self._limiter.track(entry)
        entry = self._model
        if entry is not None:
            entry.running -= 1
            if entry.counts and not entry.touched:
                self._limiter.track(entry)

    def headers(self) -> tuple[Header, ...]:
        """What is left, as of the last take: of key and model the one that has less.

        ``x-ratelimit-{limit,remaining,reset}-{requests,rows}`` and ``x-ratelimit-{limit,remaining}-concurrency``,
        those that are limited. A limit is per second; ``reset`` is the seconds until all of it is there again.
        """
        key, model = self._key, self._model
        if key is None or model is None:
            entry = key or model
            if entry is None:
                return ()
            return _rate(_REQUESTS, entry.requests) + _rate(_ROWS, entry.rows) + _slots(entry)
        fewer = model if not key.counts or model.room - model.running < key.room - key.running else key
        return (
            _rate(_REQUESTS, _tighter(key.requests, model.requests))
            + _rate(_ROWS, _tighter(key.rows, model.rows))
            + _slots(fewer)
        )


class Free(Ticket):
    """The one ticket of all requests that nothing limits."""

    __slots__ = ()

    def model(self, name: str, now: float | None = None) -> None:
        """Nothing is limited."""

    def rows(self, n: int, now: float | None = None) -> None:
        """Nothing is limited."""

    def leave(self) -> None:
        """Nothing was taken."""

    def headers(self) -> tuple[Header, ...]:
        return ()


def _tighter(one: Bucket | None, other: Bucket | None) -> Bucket | None:
    if one is None:
        return other
    return one if other is None or one.level <= other.level else other


def _rate(names: tuple[bytes, bytes, bytes], bucket: Bucket | None) -> tuple[Header, ...]:
    if bucket is None:
        return ()
    return (
        (names[0], bucket.shown),
        (names[1], _shown(bucket.remaining())),
        (names[2], _shown(math.ceil(bucket.reset()))),
    )


def _slots(entry: Entry) -> tuple[Header, ...]:
    limit = entry.limits.concurrency
    if limit is None:
        return ()
    return (_CONCURRENCY[0], _shown(limit)), (_CONCURRENCY[1], _shown(max(0, entry.room - entry.running)))


def _shown(number: int) -> bytes:
    return _NUMBERS[number] if number < len(_NUMBERS) else b"%d" % number
