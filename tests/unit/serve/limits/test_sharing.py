"""What replicas and the coordinator tell each other, and what a replica does where nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from serve.caller import Caller, Limits
from serve.gateway.errors import RateLimited
from serve.limits.coordinator import FORGET_SECONDS, Coordinator
from serve.limits.limiter import Limiter
from serve.limits.messages import Reply, Report, Use
from serve.limits.sharing import Sharing
from serve.limits.ticket import Ticket
from tests.unit.serve.limits.replicas import Network, Replicas
from tests.unit.serve.limits.test_shared import steadily

WHO = Caller("id", "reports", limits=Limits(requests_per_second=12, rows_per_second=120, concurrency=6))


class Replica:
    """One replica that exchanges when the test says so."""

    def __init__(self, name: str, coordinator: Coordinator, replicas: int = 1) -> None:
        self.name = name
        self.coordinator = coordinator
        self.limiter = Limiter(replicas=replicas)
        self.sharing = Sharing(self.limiter)

    def enter(self, now: float, times: int = 1) -> list[Ticket]:
        return [self.limiter.enter(WHO, "parcels", now) for _ in range(times)]

    def spend(self, now: float, times: int) -> None:
        for _ in range(times):
            self.limiter.enter(WHO, "parcels", now).leave()

    def spendable(self, now: float) -> int:
        """Requests let in until one is refused."""
        for count in range(1000):
            try:
                self.spend(now, 1)
            except RateLimited:
                return count
        raise AssertionError("no end")

    def exchange(self, now: float) -> Reply | None:
        report = self.sharing.report(now)
        if report is None:
            return None
        reply = self.coordinator.exchange(self.name, report, now)
        self.sharing.heard(reply, now)
        return reply


@pytest.fixture
def two() -> tuple[Replica, Replica]:
    coordinator = Coordinator()
    one, other = Replica("one", coordinator), Replica("other", coordinator)
    for replica in (one, other):
        replica.spend(0, 1)
        replica.exchange(0)
    one.spend(0, 1)
    one.exchange(0)
    return one, other


def test_what_one_spends_the_other_can_spend_no_more(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.spend(1, 8)
    one.exchange(1)
    other.exchange(1)
    assert other.spendable(1) == pytest.approx(12 - 8, abs=1)


def test_what_both_spent_too_much_is_paid_before_either_spends_again(two: tuple[Replica, Replica]) -> None:
    one, other = two
    assert one.spendable(2) == other.spendable(2) == 12
    for _ in range(2):
        one.exchange(2)
        other.exchange(2)
    assert one.spendable(2.8) == other.spendable(2.8) == 0
    assert one.spendable(3.1) > 0


def test_slots_that_the_other_holds_are_not_there_but_an_equal_part_always_is(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.enter(1, 6)
    one.exchange(1)
    other.exchange(1)
    assert len(other.enter(1, 3)) == 3
    with pytest.raises(RateLimited, match="6 requests at once"):
        other.enter(1)


def test_the_slots_of_a_replica_that_is_gone_are_free_after_two_seconds(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.enter(1, 6)
    one.exchange(1)
    other.enter(1)
    other.exchange(1)
    other.enter(1, 2)
    for tenth in range(11, 35):
        other.exchange(tenth / 10)
    assert len(other.enter(3.5, 3)) == 3


def test_a_report_whose_reply_was_lost_is_not_counted_twice(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.spend(1, 5)
    lost = one.sharing.report(1)
    assert lost is not None
    one.coordinator.exchange("one", lost, 1)
    one.sharing.lost(1)
    one.spend(1, 1)
    one.exchange(1)
    other.exchange(1)
    assert other.spendable(1) == pytest.approx(12 - 6, abs=1)


def test_a_report_that_never_came_is_made_up_for(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.spend(1, 5)
    assert one.sharing.report(1) is not None
    one.sharing.lost(1)
    one.exchange(1)
    other.exchange(1)
    assert other.spendable(1) == pytest.approx(12 - 5, abs=1)


def test_a_report_that_comes_after_a_later_one_is_dropped() -> None:
    coordinator = Coordinator()

    def use(requests: int, running: int) -> tuple[Use, ...]:
        return (Use("key", "id", requests, 0, running, 10, None),)

    coordinator.exchange("one", Report(2, 0, True, use(5, 0)), 0)
    coordinator.exchange("one", Report(1, 0, True, use(3, 3)), 0)
    (news,) = coordinator.exchange("other", Report(1, 0, True, use(0, 0)), 0).news
    assert (news.requests, news.running, news.first) == (5, 0, True)


def test_reports_and_replies_hold_only_what_changed(two: tuple[Replica, Replica]) -> None:
    one, other = two
    for replica in (one, other):
        replica.exchange(0.1)
    quiet = one.sharing.report(0.2)
    assert quiet is not None
    assert quiet.uses == ()
    reply = one.coordinator.exchange("one", quiet, 0.2)
    assert reply.news == ()
    one.sharing.heard(reply, 0.2)
    other.spend(0.3, 1)
    other.exchange(0.3)
    heard = one.exchange(0.3)
    assert heard is not None
    assert len(heard.news) == 1


def test_nothing_is_exchanged_once_nothing_ran_for_a_while(two: tuple[Replica, Replica]) -> None:
    one, _ = two
    (ticket,) = one.enter(0)
    for tenth in range(1, 60):
        assert one.exchange(tenth / 10) is not None
    ticket.leave()
    assert one.exchange(6) is not None
    assert one.exchange(6 + FORGET_SECONDS + 0.1) is None


def test_a_coordinator_that_was_restarted_learns_again_what_runs(two: tuple[Replica, Replica]) -> None:
    one, other = two
    one.enter(1, 6)
    one.exchange(1)
    one.coordinator = other.coordinator = Coordinator()
    one.exchange(1.1)
    one.exchange(1.2)
    other.spend(1.2, 1)
    other.exchange(1.2)
    assert len(other.enter(1.2, 3)) == 3
    with pytest.raises(RateLimited):
        other.enter(1.2)


def test_a_replica_that_nobody_answers_holds_to_its_part_and_then_shares_again(two: tuple[Replica, Replica]) -> None:
    one, other = two
    assert one.exchange(0.1) is not None
    one.spend(1.5, 1)
    one.sharing.report(1.5)
    one.sharing.lost(1.5)
    assert one.spendable(3) == 6
    assert len(one.enter(4, 3)) == 3
    with pytest.raises(RateLimited, match="6 requests at once"):
        one.enter(4)
    other.exchange(5)
    one.exchange(5)
    assert one.limiter.share == 1


def test_where_no_replica_is_answered_they_keep_the_rate_together_and_none_is_closed() -> None:
    rate, count = 10, 4
    never = Network(loss=1, losses=10**9)
    world = Replicas(count, Limits(requests_per_second=rate), steadily(30), 20, never, configured=count).run()
    assert world.overshoot(rate) <= rate + 1e-6
    for replica in range(count):
        assert world.total(0, replica) == pytest.approx(rate * 20 / count, rel=0.1)


def test_long_alone_is_no_debt_afterwards(two: tuple[Replica, Replica]) -> None:
    one, _ = two
    for tenth in range(10, 300):
        one.spendable(tenth / 10)
        one.sharing.report(tenth / 10)
        one.sharing.lost(tenth / 10)
    one.exchange(30)
    one.exchange(30.1)
    assert one.spendable(31.2) > 0


class Answers:
    """An exchange that answers, fails or hangs."""

    def __init__(self) -> None:
        self.coordinator = Coordinator()
        self.mode = "answers"
        self.calls = 0

    def __call__(self, report: Report) -> Awaitable[Reply]:
        self.calls += 1
        if self.mode == "fails":
            raise ConnectionError("no coordinator")
        return self._answer(report)

    async def _answer(self, report: Report) -> Reply:
        if self.mode == "hangs":
            await asyncio.sleep(3600)
        return self.coordinator.exchange("one", report)


@pytest.mark.parametrize("mode", ["fails", "hangs"])
def test_the_loop_goes_on_alone_and_comes_back(mode: str) -> None:
    async def scenario() -> None:
        limiter, exchange = Limiter(Limits(requests_per_second=1e6), replicas=2), Answers()
        sharing = Sharing(limiter, interval=0.02)
        loop = asyncio.create_task(sharing.run(exchange))
        await asyncio.sleep(0.1)
        assert exchange.calls == 0
        limiter.enter(Caller("a", "a"), "parcels", 0).leave()
        for share, now in ((1, "answers"), (2, mode), (1, "answers")):
            exchange.mode = now
            async with asyncio.timeout(5):
                while limiter.share != share:  # noqa: ASYNC110 - it has no event to wait for
                    await asyncio.sleep(0.01)
        assert not loop.done()
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop

    asyncio.run(scenario())
