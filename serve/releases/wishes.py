"""Which version of a model every replica should have, and which it should answer from.

Whoever loads a model makes a wish; each replica asks for the wishes a few times a second, follows
them, and tells how far it is. A version changes in three steps, so that every request is answered by
one version, named rightly, whichever replica it meets: first all that *host* the model load the new one
beside the old, then all *fronts* answer from the new one, then the old one goes.

Wishes live in memory, in one place (``serve.hub``) and in every replica that follows them; if the one
place is lost, the next one learns them from the replicas.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.bundle import BundleVersion
from training.registry import ModelVersion

Version = ModelVersion | BundleVersion

FORGET_SECONDS = 3.0
"""A replica not heard of for so long is gone, and nobody waits for it."""

SETTLE_SECONDS = 1.0
"""How long a place that is new hears of no replica that is not there: each tells a few times a second."""

Role = Literal["host", "front"]


@dataclass(frozen=True, slots=True)
class Wish:
    """``number`` ascends. ``hold``: the versions that hosts keep loaded. ``use``: what fronts answer from."""

    number: int
    hold: tuple[Version, ...]
    use: Version | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a replica made of a wish; ``problem`` says why it could not follow."""

    model: str
    role: Role
    wish: Wish
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``pending``: the replicas that have not followed yet. ``problems``: what those that could not said."""

    pending: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Member:
    heard: float = 0.0
    roles: frozenset[tuple[str, Role]] = frozenset()
    progress: dict[tuple[str, Role], Progress] = field(default_factory=dict)


class Wishes:
    """The one place. ``now`` is in monotonic seconds of this process."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}
        self._members: dict[str, _Member] = {}
        self._first: float | None = None

    def wish(self, model: str, hold: Iterable[Version], use: Version | None) -> Wish:
        """Replace a model's wish."""
        before = self._wishes.get(model)
        # By the clock, so that a wish made in a place that is new counts more than those that replicas still tell of.
        number = max(before.number + 1 if before else 1, int(1000 * time.time()))
        made = Wish(number, tuple(hold), use)
        self._wishes[model] = made
        return made

    def tell(
        self,
        member: str,
        roles: Iterable[tuple[str, Role]],
        progress: Iterable[Progress],
        now: float | None = None,
    ) -> Mapping[str, Wish]:
        """Take how far a replica is; the wishes for its models."""
        now = time.monotonic() if now is None else now
        self._first = now if self._first is None else self._first
        known = self._members.setdefault(member, _Member())
        known.heard = now
        known.roles = frozenset(roles)
        for told in progress:
            known.progress[told.model, told.role] = told
            # This place was lost and is new: what the replicas follow is what was wished last.
            current = self._wishes.get(told.model)
            if current is None or current.number < told.wish.number:
                self._wishes[told.model] = told.wish
        for name in [name for name, member in self._members.items() if now - member.heard > FORGET_SECONDS]:
            del self._members[name]
        return {model: self._wishes[model] for model, _ in known.roles if model in self._wishes}

    def outcome(self, wish: Wish, model: str, role: Role, now: float | None = None) -> Outcome:
        """How far the replicas of this role are with a wish."""
        now = time.monotonic() if now is None else now
        # Made in a place that was lost before anybody heard of it.
        if (current := self._wishes.get(model)) is None or current.number < wish.number:
            self._wishes[model] = wish
        pending, problems = [], []
        if self._first is None or now - self._first < SETTLE_SECONDS:
            pending.append("those that have not told yet")
        for name, member in self._members.items():
            if (model, role) not in member.roles or now - member.heard > FORGET_SECONDS:
                continue
            told = member.progress.get((model, role))
            if told is None or told.wish.number < wish.number:
                pending.append(name)
            elif told.problem is not None:
                problems.append(told.problem)
        return Outcome(tuple(pending), tuple(problems))
