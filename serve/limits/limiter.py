"""Limits on the path of a request: this process's memory alone, no lock, no call.

Everything here runs on the event loop of one replica. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from serve.caller import UNLIMITED, Caller, Limits
from serve.gateway.errors import RateLimited
from serve.limits.entry import Entry
from serve.limits.messages import Kind
from serve.limits.ticket import Free, Ticket

MOST_KEYS = 100_000
UNSEEN_SECONDS = 600.0
"""A key not seen for so long is dropped, unless it has requests running or debt."""

SWEEP_SECONDS = 1.0
SWEPT_AT_ONCE = 500
"""Keys looked at in one sweep: about 0.3 ms; 100,000 of them take 200 s."""

LOST_SIGHT_SECONDS = 4.0
"""Longer than the coordinator keeps telling of an entry that is not asked for; what was heard is old then."""


class Limiter:
    """The limits of one replica of the ingress.

    ``default``: for every key that has none of its own. ``models``: by name, for all callers together.
    ``replicas``: how many the ingress has. With one, this is exact. With several, each holds to its
    equal part until ``sharing.Sharing`` has reached the coordinator, and whenever it can't.
    """

    def __init__(
        self, default: Limits = UNLIMITED, models: Mapping[str, Limits] | None = None, *, replicas: int = 1
    ) -> None:
        self._default = None if default == UNLIMITED else default
        self._keys: OrderedDict[str, Entry] = OrderedDict()
        self._models = {
            name: Entry("model", name, f"model {name}", limits, 0.0)
            for name, limits in (models or {}).items()
            if limits != UNLIMITED
        }
        for entry in self._models.values():
            # Nobody wants to know which are used, until start_tracking is called.
            entry.touched = True
        self._replicas_at_least = replicas
        self._replicas = replicas
        self._share = replicas
        self._tracked: list[Entry] | None = None
        self._sweep_at = -math.inf
        self._free: Final[Ticket] = Free(self, None, None, None, 0.0)

    def enter(self, caller: Caller, model: str | None, now: float) -> Ticket:
        """Take one request and one slot of the key's limits and of the model's.

        ``model``: ``None`` where it is not known yet; :meth:`Ticket.model` takes its part then. Whoever gets
        a ticket calls :meth:`Ticket.leave` in the end.

        Raises:
            RateLimited: one of the limits is reached. Nothing is taken then.
        """
        limits = caller.limits
        if limits is None:
            limits = self._default
        entry = None if model is None else self._models.get(model)
        if limits is None:
            if entry is None:
                return self._free if model is not None or not self._models else Ticket(self, None, None, model, now)
            self.look_at(entry, now)
            entry.start(now)
            return Ticket(self, None, entry, model, now)
        key = self._keys.get(caller.id)
        if key is None or key.limits is not limits or now >= self._sweep_at:
            key = self._key(caller, limits, now)
        key.seen = now
        if not key.touched or key.share != self._share:
            self.look_at(key, now)
        key.start(now)
        if entry is not None:
            if not entry.touched or entry.share != self._share:
                self.look_at(entry, now)
            try:
                entry.start(now)
            except RateLimited:
                key.undo_start()
                raise
        return Ticket(self, key, entry, model, now)

    def look_at(self, entry: Entry, now: float) -> None:
        """Bring an entry up to date before it is asked, and let the next report have it."""
        if entry.share != self._share:
            entry.divide(self._share, self._replicas, now)
        if not entry.touched:
            if now - entry.reported_at > LOST_SIGHT_SECONDS:
                entry.forget_others(self._replicas)
            self.track(entry)

    def track(self, entry: Entry) -> None:
        """Let the next report have this entry, if limits are shared."""
        if self._tracked is not None and not entry.touched:
            entry.touched = True
            self._tracked.append(entry)

    def start_tracking(self) -> None:
        """Remember from now on which entries are used: :meth:`tracked` has to be called then and again."""
        self._tracked = []
        for entry in (*self._keys.values(), *self._models.values()):
            entry.touched = False

    def tracked(self) -> list[Entry]:
        """The entries asked for, let in or left since the last call."""
        found, self._tracked = self._tracked or [], []
        for entry in found:
            entry.touched = False
        return found

    def shared_with(self, replicas: int) -> None:
        """The coordinator answers, and knows of so many replicas: the whole limits are shared from now on."""
        self._replicas = max(self._replicas_at_least, replicas)
        self._share = 1

    def alone(self) -> None:
        """The coordinator does not answer: hold to this replica's equal part from now on."""
        self._share = self._replicas

    def find(self, kind: Kind, name: str, now: float) -> Entry | None:
        """An entry as it is shared now; ``None`` if it is gone."""
        entry = self._models.get(name) if kind == "model" else self._keys.get(name)
        if entry is not None and entry.share != self._share:
            entry.divide(self._share, self._replicas, now)
        return entry

    @property
    def replicas(self) -> int:
        """How many are known, at least those that were configured."""
        return self._replicas

    @property
    def share(self) -> int:
        """1: the limits are whole, shared by all replicas; more: one of so many equal parts."""
        return self._share

    def model_entry(self, name: str) -> Entry | None:
        return self._models.get(name)

    def __len__(self) -> int:
        return len(self._keys)

    def _key(self, caller: Caller, limits: Limits, now: float) -> Entry:
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._sweep(now, UNSEEN_SECONDS, min(SWEPT_AT_ONCE, len(self._keys)))
        found = self._keys.get(caller.id)
        if found is None:
            if len(self._keys) >= MOST_KEYS:
                self._make_place()
            found = Entry("key", caller.id, str(caller), limits, now)
            found.touched = self._tracked is None
            self._keys[caller.id] = found
        elif found.limits != limits:
            found.apply(limits, self._replicas, now)
        else:
            found.limits = limits
        return found

    def _sweep(self, now: float, unseen: float, looks: int) -> None:
        keys = self._keys
        for _ in range(looks):
            name = next(iter(keys))
            entry = keys[name]
            if now - entry.seen > unseen and entry.idle(now):
                del keys[name]
            else:
                keys.move_to_end(name)

    def _make_place(self) -> None:
        # Only as many keys as there are requests can be running, so this ends soon.
        for _ in range(len(self._keys)):
            name, entry = self._keys.popitem(last=False)
            if not entry.running:
                return
            self._keys[name] = entry
