"""Calls of a replica over a connection of the ingress's own."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path

import pytest
import ray

from serve.gateway.errors import BackendError, Overloaded, Unavailable
from serve.llm.deployed.calls import ReplicaGone
from serve.llm.deployed.channel import client, server
from serve.llm.deployed.channel.client import ChannelCall
from serve.llm.deployed.channel.frames import Frame, Kind
from serve.llm.deployed.messages import Message, Whole
from serve.llm.deployed.refusals import FAILED
from tests.unit.serve.llm.channels import APPLICATION, Elsewhere, Handle, Opened, chunk, messages, ran, until


async def waited_for(opened: Opened) -> tuple[ChannelCall, asyncio.Task[Message | None]]:
    """A call that has begun, and whose next message does not come."""
    opened.replica.hold.clear()
    call = await opened.call(b"2")
    await call.next()
    waiting = asyncio.create_task(call.next())
    await asyncio.sleep(0)
    return call, waiting


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestCalls:
    def test_the_first_goes_by_the_handle_and_a_channel_is_opened_for_those_after_it(self) -> None:
        async def work(opened: Opened) -> None:
            assert opened.channels.call(APPLICATION, "chat", b"1") is None
            assert len(await messages(await opened.call(b"1"))) == 1
            assert opened.handle.opened == 1

        ran(work)

    def test_many_at_once_each_get_their_own(self) -> None:
        async def work(opened: Opened) -> None:
            calls = [await opened.call(str(count).encode()) for count in range(1, 40)]
            answers = await asyncio.gather(*(messages(call) for call in calls))
            for count, answer in enumerate(answers, 1):
                assert answer == [chunk(at) for at in range(count)]

        ran(work)

    def test_a_document(self) -> None:
        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole")) == [Whole(b"{}", "1")]

        ran(work)

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"refused", BackendError(400, "invalid_value", "seed: no", "seed")),
            (b"gone", Unavailable("the engine has gone")),
            (b"full", Overloaded(7, "requests for backend small")),
            (b"fails", BackendError(500, "server_error", FAILED)),
            (b"cancels", BackendError(500, "server_error", FAILED)),
        ],
    )
    def test_errors_are_raised(self, body: bytes, error: Exception) -> None:
        async def work(opened: Opened) -> None:
            call = await opened.call(body)
            with pytest.raises(type(error)) as caught:
                await call.next()
            assert type(caught.value) is type(error)
            assert caught.value.args == error.args
            assert await call.next() is None

        ran(work)

    @pytest.mark.parametrize("content", [b"?", b"[1, 2, 3]\n{}"])
    def test_a_replica_of_other_code_that_says_something_else_is_an_error_too(
        self, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        monkeypatch.setattr(server, "message_frame", lambda number, _: Frame(number, Kind.WHOLE, content))

        async def work(opened: Opened) -> None:
            call = await opened.call(b"whole")
            with pytest.raises(BackendError) as caught:
                await call.next()
            assert caught.value.status == 500

        ran(work)

    def test_one_that_is_cancelled_stops_and_others_go_on(self) -> None:
        async def work(opened: Opened) -> None:
            first, second = await opened.call(b"1000000"), await opened.call(b"3")
            opened.replica.hold.clear()
            await first.next()
            await second.next()
            first.cancel()
            await until(lambda: opened.replica.cancelled == 1)
            assert await first.next() is None
            opened.replica.hold.set()
            assert len(await messages(second)) == 2

        ran(work)

    def test_whoever_waits_for_a_message_of_a_cancelled_one_gets_none(self) -> None:
        async def work(opened: Opened) -> None:
            call, waiting = await waited_for(opened)
            call.cancel()
            assert await waiting is None

        ran(work)

    def test_who_is_cancelled_while_waiting_cancels_the_call(self) -> None:
        async def work(opened: Opened) -> None:
            _, waiting = await waited_for(opened)
            waiting.cancel()
            await until(lambda: opened.replica.cancelled == 1)

        ran(work)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestReplicaGoes:
    def test_an_answer_that_had_begun_ends_in_an_error_and_others_go_by_the_handle(self) -> None:
        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            opened.replica.channels.close()
            with pytest.raises(Unavailable, match="went while it answered"):
                await call.next()
            assert opened.channels.call(APPLICATION, "chat", b"1") is None

        ran(work)

    def test_a_call_that_it_had_not_answered_may_be_made_again(self) -> None:
        async def work(opened: Opened) -> None:
            call = await opened.call(b"1")
            opened.replica.channels.close()
            with pytest.raises(ReplicaGone):
                await call.next()

        ran(work)


@pytest.mark.usefixtures("event_loops", "in_ray")
class TestLeases:
    def test_a_channel_is_renewed_and_the_one_before_ends_with_its_last_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            opened.replica.hold.clear()
            call = await opened.call(b"2")
            await call.next()
            await until(lambda: opened.handle.opened == 4)
            # The first still has its call, and there is the newest.
            assert 2 <= opened.replica.leases <= 3
            opened.replica.hold.set()
            assert len(await messages(call)) == 1

        ran(work)

    def test_nothing_is_called_over_one_that_could_not_be_renewed_in_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole"))
            opened.handle.channel = Elsewhere(Path("/nowhere"))  # type: ignore[assignment]
            # Serve can stop the replica then: nothing holds it.
            await until(lambda: opened.replica.leases == 0)
            assert opened.channels.call(APPLICATION, "chat", b"1") is None

        ran(work)

    def test_an_answer_that_nobody_reads_to_its_end_holds_no_channel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.2)

        async def work(opened: Opened) -> None:
            call = await opened.call(b"whole")
            assert await call.next() == Whole(b"{}", "1")
            opened.handle.channel = Elsewhere(Path("/nowhere"))  # type: ignore[assignment]
            await until(lambda: opened.replica.leases == 0)

        ran(work)

    def test_none_is_kept_for_an_application_that_nobody_calls_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "LEASE_SECONDS", 0.05)
        monkeypatch.setattr(client, "IDLE_SECONDS", 0.1)

        async def work(opened: Opened) -> None:
            assert await messages(await opened.call(b"whole"))
            await until(lambda: opened.replica.leases == 0)
            assert len(await messages(await opened.call(b"1"))) == 1

        ran(work)

    def test_one_is_nobodys_part_who_happened_to_call_first(self) -> None:
        """Serve cancels what it was asked for in the context of a call with that call."""
        whose = contextvars.ContextVar("whose", default="nobody's")
        found = []

        async def work(opened: Opened) -> None:
            def handle(_: str) -> Handle:
                found.append(whose.get())
                return opened.handle

            opened.channels = client.Channels("small", handle)
            whose.set("the first caller's")
            await messages(await opened.call(b"1"))

        ran(work)
        assert found == ["nobody's"]

    def test_none_is_asked_for_where_ray_has_been_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Serve's handle would start another Ray."""
        monkeypatch.setattr(ray, "is_initialized", lambda: False)

        async def work(opened: Opened) -> None:
            assert opened.channels.call(APPLICATION, "chat", b"1") is None
            await until(lambda: not opened.channels._keeping)
            assert opened.handle.opened == 0

        ran(work)

    def test_on_another_machine_there_is_none_and_serve_is_not_left_waiting(self, tmp_path: Path) -> None:
        async def work() -> None:
            elsewhere = Elsewhere(tmp_path)
            channels = client.Channels("small", lambda _: elsewhere)
            assert channels.call(APPLICATION, "chat", b"1") is None
            await until(lambda: elsewhere.cancelled)
            assert channels.call(APPLICATION, "chat", b"1") is None
            await channels.close()

        asyncio.run(work())
