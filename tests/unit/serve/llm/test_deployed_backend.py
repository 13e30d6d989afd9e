"""What an ingress process knows of where a backend runs."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from serve.gateway.errors import ServeError
from serve.llm.backend import Completed, Tokens, Work
from serve.llm.deployed import backend as module
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from serve.llm.deployed.calls import Call, ReplicaGone
from serve.llm.deployed.generations import State
from serve.llm.deployed.messages import Chunks, Message, Progress, Whole


def test_what_was_found_after_nobody_waited_any_more_is_not_taken_for_what_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = threading.Event()

    def states(_deployment: str) -> dict[str, State]:
        if slow.is_set():
            return {}
        slow.wait(30)
        return {"default": State("RUNNING", 1, "", 0)}

    monkeypatch.setattr(module, "states", states)
    monkeypatch.setattr(module, "STATE_SECONDS", 0.05)

    async def check() -> None:
        backend = DeployedBackend("own", "vllm-own", application="default")
        assert not await backend.ready()
        slow.set()
        while (lookup := backend._lookup) is not None and not lookup.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # It answered then, and has gone long since.
        monkeypatch.setattr(module, "STATE_SECONDS", 30)
        backend._looked = -math.inf
        assert not await backend.ready()

    asyncio.run(check())


class Says(Call):
    """These messages, and then nothing more until it is cancelled."""

    def __init__(self, *messages: Message | ServeError) -> None:
        super().__init__("own")
        self._messages = [*messages]
        self.stopped = False

    async def _said(self) -> Message | ServeError | None:
        if not self._messages:
            await asyncio.sleep(60)
        return self._messages.pop(0)

    def _stop(self) -> None:
        self.stopped = True


def backend_of(monkeypatch: pytest.MonkeyPatch, *calls: Call) -> DeployedBackend:
    made, left = DeployedBackend("own", "vllm-own", application="default"), [*calls]
    monkeypatch.setattr(made, "_call", lambda *_: left.pop(0))
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    return made


def test_what_a_call_takes_is_known_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    call, work = Says(Progress(Tokens(7, 1)), Progress(Tokens(7, 4))), Work()

    async def check() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await backend_of(monkeypatch, call).run("chat", {}, work)

    asyncio.run(check())
    assert call.stopped
    assert work.tokens == Tokens(7, 4)


def test_an_answer_that_was_only_begun_is_made_by_another_replica_where_the_first_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Says(Progress(Tokens(7, 1)), ReplicaGone("own"))
    answer = Whole(b'{"usage": {"prompt_tokens": 7, "completion_tokens": 2}}')
    found = asyncio.run(backend_of(monkeypatch, gone, Says(Progress(Tokens(7, 1)), answer)).run("chat", {}))
    assert isinstance(found, Completed)
    assert found.document["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}
    # With what the first one made.
    assert found.tokens == Tokens(14, 3)


def test_what_every_replica_made_that_went_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    gone = [Says(Progress(Tokens(7, made)), ReplicaGone("own")) for made in (1, 5, 2)]
    with pytest.raises(ReplicaGone):
        asyncio.run(backend_of(monkeypatch, *gone).run("chat", {}, work))
    assert work.tokens == Tokens(21, 8)


def test_a_stream_counts_what_a_replica_had_made_that_went_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        gone = Says(Progress(Tokens(7, 1)), ReplicaGone("own"))
        going = Says(Chunks(b"{}", Tokens(7, 1)), Chunks(b"{}", Tokens(7, 2)))
        found = await backend_of(monkeypatch, gone, going).run("chat", {})
        assert isinstance(found, DeployedStream)
        assert found.tokens == Tokens(14, 2)
        assert [await anext(found), await anext(found)] == [{}, {}]
        assert found.tokens == Tokens(14, 3)

    asyncio.run(check())
