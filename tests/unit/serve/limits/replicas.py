"""Several replicas and their coordinator on a clock of their own, with a network that delays and loses."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from serve.caller import Caller, Limits
from serve.gateway.errors import RateLimited
from serve.limits.coordinator import LATE_SECONDS, Coordinator
from serve.limits.limiter import Limiter
from serve.limits.messages import Reply
from serve.limits.sharing import INTERVAL_SECONDS, JITTER, Sharing
from serve.limits.ticket import Ticket

MODEL = "parcels"
LONGEST_PAUSE = INTERVAL_SECONDS * (1 + JITTER)
LOST_AFTER_SECONDS = 0.3
"""After so long a replica of the simulation takes an exchange for lost."""


@dataclass
class Network:
    """``delay``: the longest way of a message, in seconds. ``loss``: how likely an exchange is lost, and ``losses``
    how many in a row at most."""

    delay: float = 0.0
    loss: float = 0.0
    losses: int = 0

    @property
    def news_age(self) -> float:
        """``A`` of ``serve.limits.sharing``: the longest time until the others act on a take."""
        away = self.losses * (LONGEST_PAUSE + LOST_AFTER_SECONDS) if self.loss else 0
        return 2 * (LONGEST_PAUSE + 2 * self.delay + away) + LATE_SECONDS


@dataclass
class Replicas:
    """Runs until ``end``. ``arrivals`` yields, for a replica, pauses and rows of its next requests."""

    count: int
    limits: Limits
    arrivals: Callable[[int, random.Random], Iterator[tuple[float, int]]]
    end: float
    network: Network = field(default_factory=Network)
    seed: int = 0
    hold: float = 0.0
    """How long each request runs, in seconds."""

    configured: int = 1
    admitted: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, replica, rows."""

    running: int = 0
    most_running: int = 0

    def run(self) -> Replicas:
        self._random = random.Random(self.seed)
        self._coordinator = Coordinator()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        for number in range(self.count):
            limiter = Limiter(models={MODEL: self.limits}, replicas=self.configured)
            Replica(self, number, limiter, Sharing(limiter, chance=self._random)).begin()
        while self._events and self._events[0][0] <= self.end:
            now, _, event = heapq.heappop(self._events)
            event(now)
        return self

    def at(self, time: float, event: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, event))

    def overshoot(self, rate: float, *, rows: bool = False) -> float:
        """The most, over all windows, that was let in above ``rate`` times the window."""
        most, level, before = 0.0, 0.0, 0.0
        for at, _, n in self.admitted:
            level = max(0.0, level - rate * (at - before)) + (n if rows else 1)
            before = at
            most = max(most, level)
        return most

    def total(self, start: float, replica: int | None = None) -> int:
        return sum(at >= start and replica in (None, who) for at, who, _ in self.admitted)


@dataclass
class Replica:
    world: Replicas
    number: int
    limiter: Limiter
    sharing: Sharing
    lost: int = 0

    def begin(self) -> None:
        self._requests = self.world.arrivals(self.number, random.Random(self.world.seed * 31 + self.number))
        self._next(0.0)
        self.world.at(self.world._random.uniform(0, INTERVAL_SECONDS), self.exchange)

    def _next(self, now: float) -> None:
        if (request := next(self._requests, None)) is not None:
            self.world.at(now + request[0], lambda at: self.request(at, request[1]))

    def request(self, now: float, rows: int) -> None:
        self._next(now)
        try:
            ticket = self.limiter.enter(Caller("-", "anybody"), MODEL, now)
        except RateLimited:
            return
        self.world.running += 1
        self.world.most_running = max(self.world.most_running, self.world.running)
        with suppress(RateLimited):
            ticket.rows(rows)
            self.world.admitted.append((now, self.number, rows))
        if self.world.hold:
            self.world.at(now + self.world.hold, lambda _: self.leave(ticket))
        else:
            self.leave(ticket)

    def leave(self, ticket: Ticket) -> None:
        self.world.running -= 1
        ticket.leave()

    def exchange(self, now: float) -> None:
        world, network = self.world, self.world.network
        report = self.sharing.report(now)
        if report is None:
            world.at(now + self.sharing.pause(), self.exchange)
            return
        delay = world._random.uniform(0, network.delay)
        lost = self.lost < network.losses and world._random.random() < network.loss
        self.lost = self.lost + 1 if lost else 0
        if not lost or world._random.random() < 0.5:
            world.at(now + delay, lambda at: arrive(at))
        if lost:
            world.at(now + LOST_AFTER_SECONDS, self.give_up)

        def arrive(at: float) -> None:
            reply = world._coordinator.exchange(str(self.number), report, at)
            if not lost:
                world.at(at + world._random.uniform(0, network.delay), lambda later: self.hear(later, reply))

    def give_up(self, now: float) -> None:
        self.sharing.lost(now)
        self.world.at(now + self.sharing.pause(), self.exchange)

    def hear(self, now: float, reply: Reply) -> None:
        self.sharing.heard(reply, now)
        self.world.at(now + self.sharing.pause(), self.exchange)
