"""Calls over channels to a replica that Serve starts, replaces and stops, with a stand-in for the engine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest
from ray import serve as ray_serve

from serve.gateway.errors import Unavailable
from serve.llm.backend import Body, Completed, Operation
from serve.llm.deployed import deployment
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from serve.llm.deployed.deployment import deployment_name
from serve.llm.deployed.engine import Plan, Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.settings import Vllm
from tests.integration.serve.llm import vllm_on_ray
from tests.integration.serve.llm.vllm_on_ray import Run

pytestmark = pytest.mark.integration

NAME = "scripted"
APPLICATION = "scripts"
CALLS = 4


class Scripted:
    """An engine that says its text and its process, or as many chunks as it is asked for with a pause before each;
    after the first one it waits for a file, where one is named."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._running = 0

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        if chunks := body.get("chunks"):
            return self._chunks(chunks, tally, Path(body.get("until", "/")))
        return Whole(orjson.dumps({"text": self._text, "process": os.getpid(), "operation": operation}))

    async def _chunks(self, count: int, tally: Tally, until: Path) -> AsyncIterator[str | Refused]:
        self._running += 1
        try:
            for number in range(count):
                await asyncio.sleep(0.02)
                while number and not until.exists():  # noqa: ASYNC110, ASYNC240
                    await asyncio.sleep(0.02)
                tally.output = number + 1
                yield orjson.dumps({"text": self._text, "number": number}).decode()
        finally:
            self._running -= 1

    def running(self) -> int:
        return self._running

    async def check_health(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


async def started(text: str) -> Scripted:
    return Scripted(text)


def deploy(text: str) -> None:
    plan = Plan(
        environment={}, calls=CALLS, resources={"ray_actor_options": {"num_cpus": 0.1}}, start=partial(started, text)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "plan", lambda *_, **__: plan)
        bound = deployment.bind(NAME, Vllm.model_validate({"kind": "vllm", "model": "none"}), on_loopback=True)
    ray_serve.run(bound, name=APPLICATION, route_prefix=None)


@pytest.fixture(scope="module")
def backend(run: Run) -> Iterator[DeployedBackend]:
    with vllm_on_ray.serving(run):
        deploy("first")
        yield vllm_on_ray.called(DeployedBackend(NAME, deployment_name("vllm", NAME), application=APPLICATION))


async def whole(backend: DeployedBackend) -> dict[str, object]:
    answer = await backend.run("chat", {})
    assert isinstance(answer, Completed)
    return answer.document


async def stream(backend: DeployedBackend, chunks: int, **others: str) -> DeployedStream:
    answer = await backend.run("chat", {"chunks": chunks, **others})
    assert isinstance(answer, DeployedStream)
    return answer


def over_channels(backend: DeployedBackend) -> bool:
    """Whether a call that is made now is."""
    assert backend._channels is not None
    channel = backend._channels._open.get(APPLICATION)
    return channel is not None and channel.usable


async def until_over_channels(backend: DeployedBackend) -> None:
    async with asyncio.timeout(240):
        while not over_channels(backend):
            await whole(backend)
            await asyncio.sleep(0.05)


def test_calls_are_soon_made_over_a_channel_and_stay_so(backend: DeployedBackend, run: Run) -> None:
    async def work() -> None:
        await until_over_channels(backend)
        assert backend._channels is not None
        first = backend._channels._open[APPLICATION]
        async with asyncio.timeout(240):
            while backend._channels._open.get(APPLICATION) in (first, None):
                assert (await whole(backend))["text"] == "first"
                await asyncio.sleep(0.1)
        await until_over_channels(backend)

    run(work())


def test_no_more_calls_than_may_be_are_worked_on_by_either_way(
    backend: DeployedBackend, run: Run, tmp_path: Path
) -> None:
    over = tmp_path / "over"

    async def work() -> None:
        await until_over_channels(backend)
        by_handle = DeployedBackend(NAME, deployment_name("vllm", NAME), application=APPLICATION, replicas=2)
        # The first call by a handle takes longer than others.
        await whole(by_handle)
        ways = [backend, by_handle] * CALLS
        answers = [asyncio.create_task(stream(way, 20, until=str(over))) for way in ways]
        async with asyncio.timeout(240):
            while sum(answer.done() for answer in answers) < CALLS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # The others wait, and for one more there is no room.
        await asyncio.sleep(2)
        assert sum(answer.done() for answer in answers) == CALLS
        for way in (backend, by_handle):
            with pytest.raises(Unavailable, match=f"{CALLS} requests for backend {NAME} are waiting already"):
                await stream(way, 1)
        over.touch()
        for answer in answers:
            assert len([chunk async for chunk in await answer]) == 20

    run(work())


def test_a_replica_that_is_replaced_ends_what_it_has_and_no_call_is_lost(backend: DeployedBackend, run: Run) -> None:
    over = asyncio.Event()

    async def ask() -> list[object]:
        found = []
        while not over.is_set():
            found.append((await whole(backend))["text"])
            await asyncio.sleep(0.01)
        return found

    async def work() -> tuple[list[object], list[object]]:
        await until_over_channels(backend)
        asking = asyncio.create_task(ask())
        long = await stream(backend, 500)
        await asyncio.to_thread(deploy, "second")
        said = [chunk["text"] async for chunk in long]
        await until_over_channels(backend)
        await asyncio.sleep(0.5)
        over.set()
        return said, await asking

    said, found = run(work())
    assert said == ["first"] * 500
    assert found == sorted(found)
    assert {*found} == {"first", "second"}


def test_a_replica_that_is_killed_is_called_again_when_it_is_back(backend: DeployedBackend, run: Run) -> None:
    async def work() -> None:
        await until_over_channels(backend)
        process = (await whole(backend))["process"]
        assert isinstance(process, int)
        answer = await stream(backend, 1000)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(Unavailable, match="went while it answered"):
            [chunk async for chunk in answer]
        async with asyncio.timeout(240):
            while True:
                try:
                    if (await whole(backend))["process"] != process:
                        break
                except Unavailable:
                    await asyncio.sleep(0.1)
        await until_over_channels(backend)

    run(work())
