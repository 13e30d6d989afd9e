"""Inline models: who runs together, who fails alone, and that a large batch does not hold up a small one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from serve.context import RequestContext
from serve.gateway.errors import ClientGone, Overloaded, RequestTimeout
from serve.placement.base import Batch, Outputs
from serve.placement.inline import ROWS_ON_THE_LOOP, WAITING, Inline
from serve.runtimes.base import Array, ModelMetadata, RuntimeFailure

POISON = -1.0


class Doubles:
    """Doubles ``x``; fails at a batch with a poisoned row; waits in large batches until released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.threads: list[str] = []
        self.sizes: list[int] = []
        self.metadata = ModelMetadata("doubles", (), ())
        self.unloaded = False

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Outputs:
        x = inputs["x"]
        self.threads.append(threading.current_thread().name)
        self.sizes.append(len(x))
        if len(x) > ROWS_ON_THE_LOOP:
            assert self.release.wait(60)
        if (x == POISON).any():
            raise RuntimeFailure("poison")
        return dict.fromkeys(outputs, x * 2)

    def unload(self) -> None:
        self.unloaded = True


def column(*values: float) -> dict[str, Array]:
    return {"x": np.array(values, dtype=np.float32)}


def large() -> dict[str, Array]:
    return column(*range(ROWS_ON_THE_LOOP + 1))


async def predict(place: Inline, inputs: dict[str, Array], context: RequestContext | None = None) -> list[float]:
    found = await place.predict(inputs, len(inputs["x"]), ["y"], context or RequestContext())
    return [float(value) for value in found["y"]]


async def in_a_thread(runtime: Doubles) -> None:
    """Wait until it runs a batch."""
    while not runtime.threads:  # noqa: ASYNC110 - a thread tells it
        await asyncio.sleep(0.005)


def place() -> tuple[Doubles, Inline, list[Batch]]:
    runtime = Doubles()
    batches: list[Batch] = []
    return runtime, Inline(runtime, batches.append), batches  # type: ignore[arg-type]


def test_requests_that_are_there_together_run_together_and_each_gets_its_own_rows() -> None:
    runtime, inline, batches = place()

    async def together() -> list[list[float]]:
        return await asyncio.gather(*(predict(inline, column(n, n + 0.5)) for n in range(1, 6)))

    assert asyncio.run(together()) == [[2.0 * n, 2.0 * n + 1] for n in range(1, 6)]
    assert runtime.sizes == [10]
    assert [(batch.requests, batch.rows) for batch in batches] == [(5, 10)]


def test_a_request_that_is_alone_waits_for_nobody() -> None:
    _runtime, inline, _ = place()

    async def alone() -> int:
        loop = asyncio.get_running_loop()
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1
            if not task.done():
                loop.call_soon(count)

        task = asyncio.ensure_future(predict(inline, column(1)))
        loop.call_soon(count)
        assert await task == [2.0]
        return turns

    assert asyncio.run(alone()) <= 4


def test_what_gathers_is_run_in_batches_that_the_loop_can_bear() -> None:
    runtime, inline, _ = place()

    async def many() -> None:
        await asyncio.gather(*(predict(inline, column(*range(30))) for _ in range(5)))

    asyncio.run(many())
    assert runtime.sizes == [60, 60, 30]


def test_one_bad_request_fails_alone() -> None:
    _, inline, _ = place()

    async def mixed() -> list[object]:
        waiting = [predict(inline, column(value)) for value in (1, POISON, 3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, second, third = asyncio.run(mixed())
    assert (first, third) == ([2.0], [6.0])
    assert isinstance(second, RuntimeFailure)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        (RequestContext(seconds=0), RequestTimeout),
        (RequestContext(disconnected=lambda: True), ClientGone),
    ],
)
def test_work_that_nobody_waits_for_is_not_done(context: RequestContext, error: type[Exception]) -> None:
    runtime, inline, _ = place()
    runtime.release.set()

    async def abandoned() -> list[object]:
        waiting = [predict(inline, column(1), context), predict(inline, large(), context)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(found) for found in asyncio.run(abandoned())] == [error, error]
    assert runtime.sizes == []


def test_a_request_that_is_cancelled_before_its_run_is_left_out_of_it() -> None:
    runtime, inline, _ = place()

    async def cancel() -> list[float]:
        first = asyncio.create_task(predict(inline, column(1)))
        second = asyncio.create_task(predict(inline, column(2)))
        asyncio.get_running_loop().call_soon(first.cancel)
        return await second

    assert asyncio.run(cancel()) == [4.0]
    assert runtime.sizes in ([1], [2])


def test_a_small_batch_is_answered_while_a_large_one_runs() -> None:
    runtime, inline, _ = place()

    async def both() -> None:
        slow = asyncio.create_task(predict(inline, large()))
        await in_a_thread(runtime)
        await predict(inline, column(1))
        assert not slow.done()
        runtime.release.set()
        await slow

    asyncio.run(asyncio.wait_for(both(), 60))
    assert runtime.threads[0].startswith("infer")
    assert runtime.threads[1] == threading.main_thread().name


def test_one_large_batch_too_many_is_refused_at_once_and_the_others_are_answered() -> None:
    runtime, inline, _ = place()

    async def flood() -> None:
        waiting = [asyncio.create_task(predict(inline, large())) for _ in range(WAITING)]
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await predict(inline, large())
        runtime.release.set()
        await asyncio.gather(*waiting)
        await predict(inline, large())

    asyncio.run(flood())


def test_a_client_that_gives_up_frees_its_place_only_when_the_work_is_done() -> None:
    runtime, inline, _ = place()

    async def give_up() -> None:
        task = asyncio.create_task(predict(inline, large()))
        await in_a_thread(runtime)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert inline.waiting == 1
        runtime.release.set()
        await predict(inline, large())
        while inline.waiting:  # noqa: ASYNC110 - a thread tells it
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(give_up(), 60))


def test_closing_waits_for_what_runs_and_then_unloads() -> None:
    runtime, inline, _ = place()

    async def close() -> None:
        slow = asyncio.create_task(predict(inline, large()))
        await in_a_thread(runtime)
        closing = asyncio.create_task(inline.close())
        await asyncio.sleep(0.05)
        assert not runtime.unloaded
        runtime.release.set()
        await asyncio.gather(slow, closing)
        assert runtime.unloaded

    asyncio.run(asyncio.wait_for(close(), 60))
