"""What one replica lets in, refuses and gives back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve.caller import ANYBODY, UNLIMITED, Caller, Limits
from serve.gateway.errors import InputRejected, RateLimited
from serve.limits import limiter as module
from serve.limits.limiter import Limiter
from serve.limits.ticket import Ticket

MODEL = "parcels"


def caller(name: str = "reports", **limits: float) -> Caller:
    return Caller(f"id-{name}", name, ("*",), limits=Limits(**limits) if limits else None)  # type: ignore[arg-type]


def refused(limiter: Limiter, who: Caller, model: str | None = MODEL, now: float = 0) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        limiter.enter(who, model, now)
    return caught.value


def numbers(ticket: Ticket) -> dict[str, float]:
    return {name.decode().removeprefix("x-ratelimit-"): float(value) for name, value in ticket.headers()}


def test_a_key_at_its_limit_is_told_which_and_when_to_try_again() -> None:
    limiter, who = Limiter(), caller(requests_per_second=2)
    limiter.enter(who, MODEL, 0).leave()
    limiter.enter(who, MODEL, 0).leave()
    error = refused(limiter, who)
    assert error.args == ("key reports", "2 requests per second", pytest.approx(0.5))
    assert str(error) == "key reports: the limit of 2 requests per second is reached; try again in 0.5 s"
    limiter.enter(who, MODEL, 0.5)


def test_the_default_is_for_each_key_that_has_no_limits_of_its_own() -> None:
    limiter = Limiter(Limits(requests_per_second=1))
    limiter.enter(caller("a"), MODEL, 0)
    limiter.enter(caller("b"), MODEL, 0)
    limiter.enter(caller("c", requests_per_second=5), MODEL, 0)
    limiter.enter(caller("c", requests_per_second=5), MODEL, 0)
    refused(limiter, caller("a"))
    refused(limiter, caller("b"))


def test_a_models_limits_are_for_all_callers_together() -> None:
    limiter = Limiter(models={MODEL: Limits(requests_per_second=2)})
    limiter.enter(caller("a"), MODEL, 0)
    limiter.enter(caller("b"), MODEL, 0)
    assert refused(limiter, caller("c")).args[0] == "model parcels"
    limiter.enter(caller("c"), "letters", 0)


def test_where_the_model_refuses_nothing_of_the_keys_is_taken() -> None:
    limiter, who = Limiter(models={MODEL: Limits(concurrency=1)}), caller(requests_per_second=2, concurrency=2)
    first = limiter.enter(who, MODEL, 0)
    assert refused(limiter, who).args[:2] == ("model parcels", "1 requests at once")
    assert numbers(limiter.enter(who, "letters", 0))["remaining-requests"] == 0
    first.leave()


def test_where_the_key_refuses_nothing_of_the_models_is_taken() -> None:
    limiter = Limiter(models={MODEL: Limits(requests_per_second=2, concurrency=9)})
    limiter.enter(caller(requests_per_second=1), MODEL, 0)
    refused(limiter, caller(requests_per_second=1))
    limiter.enter(caller("other"), MODEL, 0)


def test_a_slot_is_given_back_once_however_often_the_ticket_leaves() -> None:
    limiter, who = Limiter(), caller(concurrency=2)
    first = limiter.enter(who, MODEL, 0)
    limiter.enter(who, MODEL, 0)
    refused(limiter, who)
    first.leave()
    first.leave()
    limiter.enter(who, MODEL, 0)
    refused(limiter, who)


def test_a_model_known_later_is_taken_later_and_once() -> None:
    limiter, who = Limiter(models={MODEL: Limits(concurrency=1)}), caller()
    ticket = limiter.enter(who, None, 0)
    ticket.model(MODEL)
    ticket.model(MODEL)
    late = limiter.enter(who, None, 0)
    with pytest.raises(RateLimited, match="model parcels: the limit of 1 requests at once"):
        late.model(MODEL)
    late.leave()
    ticket.leave()
    limiter.enter(who, MODEL, 0)


def test_rows_are_taken_of_both_or_of_none() -> None:
    limiter, who = Limiter(models={MODEL: Limits(rows_per_second=10)}), caller(rows_per_second=100)
    ticket = limiter.enter(who, MODEL, 0)
    ticket.rows(8)
    with pytest.raises(RateLimited, match="model parcels: the limit of 10 rows per second"):
        ticket.rows(5)
    other = limiter.enter(who, "letters", 0)
    assert numbers(other)["remaining-rows"] == 92
    ticket.rows(5, now=0.3)


def test_a_batch_of_more_rows_than_a_seconds_worth_is_let_in_and_paid_afterwards() -> None:
    limiter, who = Limiter(), caller(rows_per_second=10)
    limiter.enter(who, MODEL, 0).rows(50)
    with pytest.raises(RateLimited) as caught:
        limiter.enter(who, MODEL, 0).rows(1)
    assert caught.value.args[2] == pytest.approx(4.1)


def test_a_batch_over_the_limit_of_a_batch_is_the_callers_mistake_and_costs_no_rows() -> None:
    limiter = Limiter(models={MODEL: Limits(batch_rows=5)})
    ticket = limiter.enter(caller(rows_per_second=100), MODEL, 0)
    with pytest.raises(InputRejected, match="model parcels: expected at most 5 rows in a batch for model parcels, got"):
        ticket.rows(6)
    assert numbers(ticket)["remaining-rows"] == 100
    ticket.rows(5)
    with pytest.raises(InputRejected, match="at most 2 rows in a batch for key reports, got 3 rows"):
        Limiter().enter(caller(batch_rows=2), None, 0).rows(3)


@pytest.mark.parametrize(("key", "model", "limit"), [(9, 5, 5), (5, 9, 5), (None, 7, 7), (7, None, 7), (None,) * 3])
def test_the_limit_of_the_body_is_the_smaller_one(key: int | None, model: int | None, limit: int | None) -> None:
    limiter = Limiter(Limits(body_bytes=key), {MODEL: Limits(body_bytes=model)})
    assert limiter.enter(ANYBODY, MODEL, 0).body_limit == limit


def test_the_headers_tell_of_what_is_limited_and_of_the_one_that_has_less() -> None:
    limiter = Limiter(models={MODEL: Limits(requests_per_second=100, concurrency=3)})
    ticket = limiter.enter(caller(requests_per_second=4, rows_per_second=2000.5, concurrency=8), MODEL, 0)
    ticket.rows(1500)
    assert dict(ticket.headers()) == {
        b"x-ratelimit-limit-requests": b"4",
        b"x-ratelimit-remaining-requests": b"3",
        b"x-ratelimit-reset-requests": b"1",
        b"x-ratelimit-limit-rows": b"2000.5",
        b"x-ratelimit-remaining-rows": b"500",
        b"x-ratelimit-reset-rows": b"1",
        b"x-ratelimit-limit-concurrency": b"3",
        b"x-ratelimit-remaining-concurrency": b"2",
    }


def test_debt_shows_as_nothing_left_and_the_time_it_takes() -> None:
    ticket = Limiter().enter(caller(rows_per_second=10), MODEL, 0)
    ticket.rows(50)
    assert numbers(ticket) == {"limit-rows": 10, "remaining-rows": 0, "reset-rows": 5}


def test_where_nothing_is_limited_every_request_has_the_same_ticket() -> None:
    limiter = Limiter(models={"letters": UNLIMITED})
    ticket = limiter.enter(ANYBODY, None, 0)
    ticket.model(MODEL)
    ticket.rows(10**9)
    ticket.leave()
    assert limiter.enter(caller(), MODEL, 0) is ticket
    assert (ticket.headers(), ticket.body_limit, len(limiter)) == ((), None, 0)


def test_a_key_whose_limits_change_keeps_what_it_used() -> None:
    limiter = Limiter()
    running = limiter.enter(caller(requests_per_second=4, concurrency=5), MODEL, 0)
    ticket = limiter.enter(caller(requests_per_second=2, concurrency=2), MODEL, 0)
    assert numbers(ticket)["remaining-requests"] == 0
    assert refused(limiter, caller(requests_per_second=2, concurrency=2), now=1).args[1] == "2 requests at once"
    running.leave()
    limiter.enter(caller(requests_per_second=2, concurrency=2), MODEL, 1)


def test_a_key_not_seen_for_ten_minutes_is_dropped_unless_it_runs_or_owes() -> None:
    limiter = Limiter()
    limiter.enter(caller("gone", requests_per_second=1), MODEL, 0).leave()
    limiter.enter(caller("runs", concurrency=1), MODEL, 0)
    limiter.enter(caller("owes", rows_per_second=1), MODEL, 0).rows(5000)
    limiter.enter(caller("here", requests_per_second=1), MODEL, 599).leave()
    assert len(limiter) == 4
    limiter.enter(caller("here", requests_per_second=1), MODEL, 601).leave()
    assert len(limiter) == 3
    refused(limiter, caller("runs", concurrency=1), now=601)


def test_there_are_never_more_keys_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 100)
    limiter = Limiter()
    limiter.enter(caller("runs", concurrency=1), MODEL, 0)
    for number in range(1000):
        limiter.enter(caller(str(number), requests_per_second=1), MODEL, 0).leave()
    assert len(limiter) == 100
    refused(limiter, caller("runs", concurrency=1))


def test_one_of_several_replicas_that_knows_of_no_other_holds_to_its_part() -> None:
    limiter, who = Limiter(replicas=3), caller(requests_per_second=30, concurrency=7)
    tickets = [limiter.enter(who, MODEL, 0), limiter.enter(who, MODEL, 0)]
    assert refused(limiter, who).args[1] == "7 requests at once"
    for ticket in tickets:
        ticket.leave()
    for _ in range(8):
        limiter.enter(who, MODEL, 0).leave()
    assert refused(limiter, who).args[1:] == ("30 requests per second", pytest.approx(0.1))


def test_the_package_loads_no_ray() -> None:
    program = (
        "import sys, serve.limits, serve.limits.limiter, serve.limits.sharing, serve.limits.settings;"
        "assert not {name for name in sys.modules if name.partition('.')[0] == 'ray'}"
    )
    root = Path(__file__).parents[4]
    found = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
