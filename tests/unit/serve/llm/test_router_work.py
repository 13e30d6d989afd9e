"""What a call took that has no answer, was tried more than once, or lasts longer than was reserved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from serve.context import RequestContext
from serve.gateway.errors import BackendError, BudgetReached, Unavailable
from serve.llm.backend import Completed, Stream, Tokens, Work
from serve.llm.bedrock.errors import NotOffered
from tests.unit.serve.llm.routed import CALLER, Book, ByTokens, Fake, router, run


class Counts(Fake):
    """It had taken so much when it failed, or when it was cancelled."""

    async def run(self, operation: str, body: Mapping[str, Any], work: Work | None = None) -> Completed | Stream:
        assert work is not None
        work.add(Tokens(70, 8))
        work.add(Tokens(30, 1))
        if self.error is None:
            await asyncio.sleep(60)
        return await super().run(operation, body, work)


class Tries(Fake):
    """It has tried in vain, and is about to try again."""

    async def run(self, operation: str, body: Mapping[str, Any], work: Work | None = None) -> Completed | Stream:
        assert work is not None
        work.add(Tokens(70))
        work.again()
        return await super().run(operation, body, work)


@pytest.mark.parametrize("error", [Unavailable("late"), BackendError(429, None, "slow"), RuntimeError("ours")])
def test_what_a_backend_counted_before_it_failed_is_written_down(error: Exception) -> None:
    book = Book()
    with pytest.raises(type(error)):
        run(router(Counts("own", error=error), book=book))
    assert [use.tokens for use in book.uses] == [Tokens(100, 9)]


def test_what_a_backend_counted_before_nobody_waited_any_more_is_written_down() -> None:
    book = Book()

    async def cancelled() -> None:
        made = router(Counts("own"), book=book)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.run("chat", {"model": "small"}, RequestContext(CALLER), "r1")

    asyncio.run(cancelled())
    assert [(use.tokens, use.ended) for use in book.uses] == [(Tokens(100, 9), "gone")]


def test_what_is_tried_again_is_reserved_again() -> None:
    book = Book()
    run(router(Tries("dear"), book=book))
    assert book.extended == [1.0]


def test_what_a_budget_has_no_room_to_try_again_goes_to_the_next_route_and_counts() -> None:
    book = Book()

    class Spends(Tries):
        async def run(self, operation: str, body: Mapping[str, Any], work: Work | None = None) -> Completed | Stream:
            book.refuses_more = True
            return await super().run(operation, body, work)

    run(router(Spends("dear"), Fake("own"), book=book))
    assert [(use.backend, use.tokens, use.ended) for use in book.uses] == [
        ("dear", Tokens(70), BudgetReached.__name__),
        ("own", Tokens(3, 2), "done"),
    ]


def test_what_others_had_taken_meanwhile_goes_to_the_next_route_unasked() -> None:
    dear, own, book = Fake("dear"), Fake("own"), Book(unconfirmed=1)
    run(router(dear, own, book=book))
    assert dear.asked == []
    assert [use.backend for use in book.uses] == ["own"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_model_that_this_account_has_not_is_asked_for_by_the_next_route(status: int) -> None:
    own = Fake("own")
    run(router(Fake("dear", error=NotOffered(status, None, "not ours")), own))
    assert len(own.asked) == 1


@pytest.mark.parametrize(("seconds", "extended"), [(0.05, True), (60, False)])
def test_a_stream_that_lasts_is_reserved_for_anew_before_its_time_is_over(
    seconds: float, extended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ByTokens, "most_seconds", seconds)
    book = Book()
    book.refuses_more = True

    async def read() -> None:
        made = router(Fake("own"), book=book)
        stream = await made.run("chat", {"model": "small", "stream": True}, RequestContext(CALLER), "r1")
        assert not isinstance(stream, Completed)
        async for _ in stream:
            await asyncio.sleep(seconds if extended else 0)

    asyncio.run(read())
    # Three chunks, of which each is read a whole time later.
    assert (len(book.extended) >= 3) == extended
    assert set(book.extended) <= {1.0}
