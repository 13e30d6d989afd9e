"""Names of language models lead to backends, by priority and weight, and each request is written down once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from serve.caller import Caller
from serve.context import RequestContext
from serve.gateway.errors import (
    BackendError,
    BudgetReached,
    Forbidden,
    ModelNotFound,
    Overloaded,
    ParameterRejected,
    ServeError,
    Unavailable,
)
from serve.llm.backend import Completed, Stream, Tokens, Work
from serve.llm.bedrock.errors import NotOffered
from serve.llm.prompts.lookup import PromptNotFound
from serve.llm.router import Router
from serve.llm.settings import Route
from tests.unit.serve.llm.routed import CALLER, DOCUMENT, Book, Fake, router, run


def test_the_names_are_those_that_the_caller_may_use() -> None:
    assert router(Fake("own")).names(CALLER) == ["small"]


@pytest.mark.parametrize("as_stream", [False, True])
def test_an_answer_of_a_version_of_the_registry_names_it_and_so_does_the_ledger(as_stream: bool) -> None:
    book, context = Book(), RequestContext(CALLER)

    async def work() -> None:
        found = await router(Fake("own", version="facts/3"), book=book).run(
            "chat", {"model": "small", "messages": [], "stream": as_stream}, context, "r1"
        )
        assert context.version == "facts/3"
        if not isinstance(found, Completed):
            _ = [chunk async for chunk in found]

    asyncio.run(work())
    assert [use.backend for use in book.uses] == ["own/facts/3"]


def test_an_answer_names_its_backend_and_is_written_down() -> None:
    own, book = Fake("own"), Book()
    context = RequestContext(CALLER)
    assert run(router(own, book=book), context) == Completed(DOCUMENT, Tokens(3, 2))
    assert (context.model, context.version) == ("small", "own")
    assert own.asked == [{"model": "own", "messages": []}]
    [use] = book.uses
    assert (use.request_id, use.key, use.model, use.backend, use.operation) == ("r1", "reports", "small", "own", "chat")
    assert (use.tokens, use.ended) == (Tokens(3, 2), "done")
    assert use.dollars == pytest.approx(2.3)
    assert use.first_token_seconds is not None
    assert book.reserved == [("reports", "small", 1.0)]


def test_a_prompt_s_messages_come_first_and_its_version_is_written_down() -> None:
    first, second, book = Fake("first", error=Unavailable()), Fake("second"), Book()
    context = RequestContext(CALLER)
    asked = {"messages": [{"role": "user", "content": "Hi"}], "variables": {"name": "Ann"}}
    run(router(first, second, book=book), context, prompt="greeting@champion", **asked)
    messages = [{"role": "system", "content": "Greet Ann."}, *asked["messages"]]
    assert [each.asked for each in (first, second)] == [
        [{"model": name, "messages": messages}] for name in ("first", "second")
    ]
    assert [(use.prompt, use.prompt_version) for use in book.uses] == [("greeting", "3")] * 2
    assert (context.prompt, context.prompt_version) == ("greeting", "3")


def test_a_prompt_that_is_not_there_asks_no_backend_and_costs_nothing() -> None:
    own, book = Fake("own"), Book()
    with pytest.raises(PromptNotFound):
        run(router(own, book=book), prompt="farewell@champion")
    assert (own.asked, book.reserved) == ([], [])


def test_a_completion_s_prompt_is_a_text_and_no_prompt_of_the_registry() -> None:
    own = Fake("own")
    body = {"model": "small", "prompt": "greeting@champion"}
    asyncio.run(router(own).run("completions", body, RequestContext(CALLER), "r1"))
    assert own.asked == [{"model": "own", "prompt": "greeting@champion"}]


def test_an_adapter_is_asked_for_by_its_name() -> None:
    own = Fake("own")
    run(router(own, routes=[Route(backend="own", adapter="style")]))
    assert own.asked[0]["model"] == "style"


@pytest.mark.parametrize(
    "error", [Overloaded(3, "requests"), Unavailable(), BackendError(429, None, "slow"), BackendError(502, None, "bad")]
)
def test_where_the_first_has_no_room_or_is_down_the_next_is_asked(error: ServeError) -> None:
    first, second, book = Fake("first", error=error), Fake("second"), Book()
    assert run(router(first, second, book=book)) == Completed(DOCUMENT, Tokens(3, 2))
    assert [(use.backend, use.ended) for use in book.uses] == [("first", type(error).__name__), ("second", "done")]


def test_what_is_wrong_with_the_request_is_said_at_once() -> None:
    first, second = Fake("first", error=BackendError(400, "context_length_exceeded", "too long")), Fake("second")
    with pytest.raises(BackendError, match="too long"):
        run(router(first, second))
    assert second.asked == []


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_operation", "unknown_parameter"])
def test_what_a_backend_has_not_the_next_is_asked_for(code: str) -> None:
    for error in (BackendError(400, code, "seed", "seed"), ParameterRejected("seed", "none", code)):
        first, second, book = Fake("first", error=error), Fake("second"), Book()
        assert run(router(first, second, book=book)) == Completed(DOCUMENT, Tokens(3, 2))
        assert [(use.backend, use.tokens) for use in book.uses] == [("first", Tokens()), ("second", Tokens(3, 2))]


def test_where_none_can_answer_the_last_one_s_reason_is_given() -> None:
    with pytest.raises(BackendError, match="b"):
        run(router(Fake("first", error=Unavailable()), Fake("second", error=BackendError(503, None, "b"))))
    with pytest.raises(BackendError, match="b"):
        run(router(Fake("first", error=LACKS), Fake("second", error=BackendError(404, None, "b"))))


LACKS = BackendError(400, "unsupported_parameter", "seed: none", "seed")


@pytest.mark.parametrize(
    "other", [LACKS, NotOffered(404, "model_not_found", "none"), BackendError(429, "insufficient_quota", "spent")]
)
def test_what_may_answer_a_moment_later_is_told_of_before_what_never_does(other: ServeError) -> None:
    for names in (("busy", "other"), ("other", "busy")):
        errors = {"busy": Unavailable("full"), "other": other}
        context = RequestContext(CALLER)
        with pytest.raises(Unavailable, match="full"):
            run(router(*(Fake(name, error=errors[name]) for name in names)), context)
        assert context.version == "busy"


def test_nor_does_a_budget_speak_for_one_that_was_busy() -> None:
    with pytest.raises(Unavailable, match="full"):
        run(router(Fake("dear"), Fake("busy", error=Unavailable("full")), book=Book(refusals=1)))


def test_a_budget_passes_on_to_a_route_that_it_allows_and_nothing_is_asked_before() -> None:
    dear, cheap, book = Fake("dear"), Fake("cheap"), Book(refusals=1)
    run(router(dear, cheap, book=book))
    assert dear.asked == []
    assert [use.backend for use in book.uses] == ["cheap"]
    with pytest.raises(BudgetReached):
        run(router(Fake("dear"), book=Book(refusals=1)))


def test_among_equals_the_weights_decide() -> None:
    routes = [Route(backend="a", weight=3), Route(backend="b"), Route(backend="last", priority=1)]
    made = router(Fake("a"), Fake("b"), Fake("last"), routes=routes)
    found = Counter()
    for _ in range(400):
        context = RequestContext(CALLER)
        run(made, context)
        found[context.version] += 1
    assert found["last"] == 0
    assert 240 <= found["a"] <= 360


def test_a_name_that_is_not_there_or_not_for_this_key_is_refused() -> None:
    with pytest.raises(ModelNotFound, match="small"):
        run(router(Fake("own")), model="large")
    # Whoever may not use a model is not told whether there is one.
    for name in ("other", "nothing"):
        with pytest.raises(Forbidden):
            run(router(Fake("own")), model=name)


async def _drained(made: Router, stop_after: int | None = None) -> list[Mapping[str, Any]]:
    stream = await made.run("chat", {"model": "small", "stream": True}, RequestContext(CALLER), "r1")
    assert not isinstance(stream, Completed)
    found = []
    try:
        async for chunk in stream:
            found.append(chunk)
            if len(found) == stop_after:
                break
    finally:
        await stream.aclose()
        await stream.aclose()
    return found


def test_a_stream_is_written_down_once_at_its_end() -> None:
    own, book = Fake("own"), Book()
    assert len(asyncio.run(_drained(router(own, book=book)))) == 3
    [use] = book.uses
    assert (use.tokens, use.ended) == (Tokens(5, 3), "done")


def test_a_stream_that_nobody_waits_for_is_closed_and_what_it_took_is_counted() -> None:
    own, book = Fake("own"), Book()
    asyncio.run(_drained(router(own, book=book), stop_after=1))
    [use] = book.uses
    assert (use.tokens, use.ended) == (Tokens(5, 1), "gone")
    assert own.streams[0].closed


def test_an_error_in_mid_stream_is_raised_and_written_down_and_no_other_backend_is_asked() -> None:
    own, next_one, book = Fake("own", mid=BackendError(429, None, "slow")), Fake("next"), Book()
    with pytest.raises(BackendError):
        asyncio.run(_drained(router(own, next_one, book=book)))
    [use] = book.uses
    assert (use.tokens, use.ended) == (Tokens(5, 1), "BackendError")
    assert next_one.asked == []


def test_a_request_that_is_cancelled_is_written_down() -> None:
    class Hangs(Fake):
        async def run(self, operation: str, body: Mapping[str, Any], work: Work | None = None) -> Completed | Stream:
            await asyncio.sleep(60)
            raise AssertionError

    book = Book()

    async def cancelled() -> None:
        made = router(Hangs("own"), book=book)
        task = asyncio.create_task(made.run("chat", {"model": "small"}, RequestContext(CALLER), "r1"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    [use] = book.uses
    assert use.ended == "gone"
    # Whoever sells answers had the prompt by then.
    assert use.tokens.input > 0


@pytest.mark.parametrize(
    ("error", "worked"),
    [
        (BackendError(400, None, "bad"), False),
        (BackendError(429, None, "slow"), False),
        (Unavailable(), False),
        (BackendError(502, None, "broken"), True),
        (BackendError(504, None, "late"), True),
        (RuntimeError("ours"), True),
    ],
)
def test_a_prompt_that_was_read_is_counted_and_one_that_was_refused_is_not(error: Exception, worked: bool) -> None:
    book = Book()
    with pytest.raises(type(error)):
        run(router(Fake("own", error=error), book=book))
    [use] = book.uses
    assert (use.tokens.input > 0) == worked
    assert use.ended == ("InternalError" if isinstance(error, RuntimeError) else type(error).__name__)


def test_a_token_s_subject_is_no_key_of_that_name() -> None:
    book = Book()
    run(router(Fake("own"), book=book), RequestContext(Caller("jwt:reports", "reports", models=("*",))))
    assert [use.key for use in book.uses] == ["jwt:reports"]


def test_after_a_failure_nobody_is_asked_for_a_client_that_has_gone() -> None:
    second = Fake("second")
    context = RequestContext(CALLER, disconnected=lambda: True)
    with pytest.raises(ServeError, match="closed"):
        run(router(Fake("first", error=Unavailable()), second), context)
    assert second.asked == []


def test_it_is_ready_where_each_name_has_a_backend_that_is() -> None:
    first, second = Fake("first", able=False), Fake("second")
    made = router(first, second)
    assert asyncio.run(made.ready())
    second.able = False
    assert not asyncio.run(made.ready())
