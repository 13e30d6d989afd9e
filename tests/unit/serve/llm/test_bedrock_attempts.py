"""Of a request to Bedrock: where it is tried again, and what counts of what was tried in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve.gateway.errors import BudgetReached, ServeError
from serve.llm.backend import Tokens, Work
from serve.llm.bedrock import attempts as module
from serve.llm.bedrock.attempts import Attempts
from serve.llm.bedrock.errors import Again, CredentialsRefused, Failure, NotOffered, NotReached

LATE = NotReached("here", "late")
GUESS = Tokens(10, 1)


def failing(*failures: BaseException | None) -> Callable[[str], Awaitable[str]]:
    left = list(failures)

    async def attempt(region: str) -> str:
        failure = left.pop(0) if left else None
        if failure is not None:
            raise failure
        return region

    return attempt


def tried(*failures: BaseException | None, work: Work | None = None) -> str:
    made = Attempts(["here", "there"], 1, work or Work(), lambda _: GUESS)
    return asyncio.run(made.answer(failing(*failures)))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0)


@pytest.mark.parametrize(
    ("failures", "answers", "tokens"),
    [
        ([], "here", None),
        ([Failure(LATE, Again.HERE)], "here", None),
        ([Failure(LATE, Again.HERE, read=True)], "here", Tokens(10, 1)),
        ([Failure(LATE, Again.ELSEWHERE, read=True)], "there", Tokens(10, 1)),
        ([Failure(LATE, Again.HERE, read=True)] * 3, "there", Tokens(30, 3)),
        ([Failure(LATE, Again.ELSEWHERE, took=Tokens(7, 5))], "there", Tokens(7, 5)),
        ([Failure(LATE, Again.HERE, took=Tokens(7, 5)), Failure(LATE, Again.ELSEWHERE)], "there", Tokens(7, 5)),
    ],
)
def test_what_was_tried_in_vain_counts_where_it_was_read(
    failures: list[Failure], answers: str, tokens: Tokens | None
) -> None:
    work = Work()
    assert tried(*failures, work=work) == answers
    assert work.tokens == tokens


def test_what_is_not_tried_again_counts_too() -> None:
    work = Work()
    with pytest.raises(NotReached):
        tried(Failure(LATE, Again.NOWHERE, read=True), work=work)
    assert work.tokens == GUESS


def test_what_nobody_waits_for_any_more_counts() -> None:
    work = Work()
    with pytest.raises(asyncio.CancelledError):
        tried(asyncio.CancelledError(), work=work)
    assert work.tokens == GUESS


def test_what_never_went_out_does_not_count() -> None:
    work = Work()
    with pytest.raises(CredentialsRefused):
        tried(CredentialsRefused(), work=work)
    assert work.tokens is None


def test_what_is_not_billed_is_reserved_once_however_often_it_is_tried() -> None:
    asked: list[int] = []
    work = Work(again=lambda: asked.append(1))
    late = Failure(LATE, Again.HERE, read=True)
    throttled = Failure(LATE, Again.HERE)
    made = Attempts(["here"], 6, work, lambda _: GUESS)
    assert asyncio.run(made.answer(failing(late, throttled, throttled, late, throttled))) == "here"
    # After each that was billed: whatever comes before the next one has the same room.
    assert len(asked) == 2


def test_a_region_that_has_not_the_model_does_not_speak_for_one_that_was_busy() -> None:
    busy = Failure(LATE, Again.ELSEWHERE)
    missing = Failure(NotOffered(404, "model_not_found", "none"), Again.ELSEWHERE)
    for failures in ([busy, missing], [missing, busy]):
        with pytest.raises(NotReached):
            tried(*failures)
    with pytest.raises(NotOffered):
        tried(missing, missing)


@pytest.mark.parametrize("read", [False, True])
def test_a_budget_is_asked_before_what_is_billed_twice(read: bool) -> None:
    def reached() -> None:
        raise BudgetReached("key reports", "$1 a day", "tomorrow")

    work = Work(again=reached)
    failure = Failure(LATE, Again.ELSEWHERE, read=read)
    if not read:
        assert tried(failure, work=work) == "there"
        return
    with pytest.raises(ServeError, match="budget"):
        tried(failure, work=work)
    assert work.tokens == GUESS
