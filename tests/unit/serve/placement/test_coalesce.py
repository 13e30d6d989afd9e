"""Requests to a model elsewhere share calls: at once when alone, together when busy, each failing for itself."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.context import RequestContext
from serve.gateway.errors import ClientGone, NotReady, Overloaded, RequestTimeout
from serve.placement.base import Batch, Inputs, Outputs
from serve.placement.coalesce import Coalescer
from serve.runtimes.base import RuntimeFailure

POISON = -1.0


class Elsewhere:
    """A model behind calls: each waits for ``gate``, then doubles ``x``."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[list[float]] = []
        self.outputs: list[list[str]] = []
        self.error: Exception | None = None
        self.running = 0
        self.most = 0

    async def __call__(self, inputs: Inputs, outputs: Sequence[str], deadline: float) -> Outputs:
        self.calls.append([float(value) for value in inputs["x"]])
        self.outputs.append(list(outputs))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        if POISON in inputs["x"]:
            raise RuntimeFailure("poison")
        return dict.fromkeys(outputs, inputs["x"] * 2)


async def predict(
    coalescer: Coalescer, *values: float, context: RequestContext | None = None, outputs: Sequence[str] = ("y",)
) -> list[float]:
    inputs = {"x": np.array(values, dtype=np.float32)}
    found = await coalescer.predict(inputs, len(values), outputs, context or RequestContext())
    assert list(found) == list(outputs)
    return [float(value) for value in found[outputs[0]]]


def start(*values: float, coalescer: Coalescer, **options: object) -> asyncio.Task[list[float]]:
    return asyncio.create_task(predict(coalescer, *values, **options))  # type: ignore[arg-type]


def made(batch_rows: int = 100, calls: int = 1, queue: int = 100) -> tuple[Elsewhere, Coalescer, list[Batch]]:
    elsewhere = Elsewhere()
    batches: list[Batch] = []
    coalescer = Coalescer(elsewhere, batch_rows=batch_rows, calls=calls, queue=queue, watch=batches.append)
    return elsewhere, coalescer, batches


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_request_that_is_alone_is_sent_at_once() -> None:
    async def alone() -> None:
        elsewhere, coalescer, _ = made()
        task = start(1, coalescer=coalescer)
        await turns()
        assert elsewhere.calls == [[1.0]]
        elsewhere.gate.set()
        assert await task == [2.0]

    asyncio.run(alone())


def test_requests_that_come_while_a_call_is_under_way_go_together_in_the_next() -> None:
    async def busy() -> None:
        elsewhere, coalescer, batches = made()
        first = start(1, coalescer=coalescer)
        await turns()
        others = [start(n, n + 0.5, coalescer=coalescer) for n in (2, 3, 4)]
        await turns()
        assert elsewhere.calls == [[1.0]]
        assert coalescer.waiting == 3
        elsewhere.gate.set()
        assert await asyncio.gather(first, *others) == [[2.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]
        assert elsewhere.calls[1] == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
        assert [(batch.requests, batch.rows) for batch in batches] == [(1, 1), (3, 6)]

    asyncio.run(busy())


def test_no_more_calls_are_under_way_than_may() -> None:
    async def many() -> int:
        elsewhere, coalescer, _ = made(batch_rows=2, calls=2)
        tasks = [start(n, coalescer=coalescer) for n in range(20)]
        await turns()
        elsewhere.gate.set()
        await asyncio.gather(*tasks)
        return elsewhere.most

    assert asyncio.run(many()) == 2


def test_a_request_larger_than_a_shared_call_goes_alone() -> None:
    async def large() -> list[list[float]]:
        elsewhere, coalescer, _ = made(batch_rows=2)
        elsewhere.gate.set()
        tasks = [start(1, coalescer=coalescer), start(2, 3, 4, coalescer=coalescer), start(5, coalescer=coalescer)]
        await asyncio.gather(*tasks)
        return elsewhere.calls

    assert asyncio.run(large()) == [[1.0], [2.0, 3.0, 4.0], [5.0]]


def test_each_request_gets_the_outputs_that_it_asked_for() -> None:
    async def different() -> list[list[str]]:
        elsewhere, coalescer, _ = made()
        elsewhere.gate.set()
        tasks = [start(1, coalescer=coalescer, outputs=["y"]), start(2, coalescer=coalescer, outputs=["z", "y"])]
        await asyncio.gather(*tasks)
        return elsewhere.outputs

    assert asyncio.run(different()) == [["y", "z"]]


def test_one_bad_request_fails_alone() -> None:
    async def mixed() -> list[object]:
        elsewhere, coalescer, _ = made()
        elsewhere.gate.set()
        tasks = [start(value, coalescer=coalescer) for value in (1, POISON, 3)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(mixed())
    assert (first, third) == ([2.0], [6.0])
    assert isinstance(second, RuntimeFailure)


def test_where_nothing_runs_the_model_every_request_of_the_call_is_told_so() -> None:
    async def gone() -> list[object]:
        elsewhere, coalescer, _ = made()
        elsewhere.error = NotReady("parcels")
        elsewhere.gate.set()
        tasks = [start(n, coalescer=coalescer) for n in (1, 2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(found) for found in asyncio.run(gone())] == [NotReady, NotReady]


def test_one_request_too_many_is_refused_at_once() -> None:
    async def flood() -> None:
        elsewhere, coalescer, _ = made(queue=3)
        under_way = start(0, coalescer=coalescer)
        await turns()
        waiting = [start(n, coalescer=coalescer) for n in range(3)]
        await turns()
        with pytest.raises(Overloaded, match="3 requests are waiting already"):
            await predict(coalescer, 9)
        elsewhere.gate.set()
        await asyncio.gather(under_way, *waiting)

    asyncio.run(flood())


def test_a_request_whose_time_passes_while_it_waits_is_answered_then_and_never_sent() -> None:
    async def late() -> None:
        elsewhere, coalescer, _ = made()
        under_way = start(0, coalescer=coalescer)
        await turns()
        started = time.monotonic()
        with pytest.raises(RequestTimeout):
            await predict(coalescer, 1, context=RequestContext(seconds=0.05))
        assert time.monotonic() - started < 1
        elsewhere.gate.set()
        await under_way
        await turns()
        assert elsewhere.calls == [[0.0]]

    asyncio.run(late())


def test_a_request_whose_client_left_or_was_cancelled_while_it_waited_is_never_sent() -> None:
    async def gone() -> None:
        elsewhere, coalescer, _ = made()
        under_way = start(0, coalescer=coalescer)
        await turns()
        left: list[bool] = []
        quitter = start(1, coalescer=coalescer, context=RequestContext(disconnected=lambda: bool(left)))
        cancelled = start(2, coalescer=coalescer)
        await turns()
        left.append(True)
        cancelled.cancel()
        elsewhere.gate.set()
        with pytest.raises(ClientGone):
            await quitter
        await under_way
        await coalescer.drain()
        assert elsewhere.calls == [[0.0]]

    asyncio.run(gone())


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 3)), min_size=1, max_size=30),
    st.integers(1, 10),
    st.integers(1, 3),
)
def test_whatever_comes_and_when_each_request_gets_the_double_of_its_own_rows(
    requests: list[tuple[int, int]], batch_rows: int, calls: int
) -> None:
    async def run() -> None:
        elsewhere, coalescer, batches = made(batch_rows, calls, queue=1000)
        elsewhere.gate.set()
        tasks = []
        for index, (rows, pause) in enumerate(requests):
            tasks.append(start(*(index * 10 + row for row in range(rows)), coalescer=coalescer))
            await turns(pause)
        found = await asyncio.gather(*tasks)
        for index, (rows, _) in enumerate(requests):
            assert found[index] == [2.0 * (index * 10 + row) for row in range(rows)]
        await coalescer.drain()
        assert sum(batch.requests for batch in batches) == len(requests)
        assert all(batch.rows <= batch_rows or batch.requests == 1 for batch in batches)

    asyncio.run(run())


def test_without_a_deadline_there_is_no_timer() -> None:
    assert RequestContext().deadline == math.inf
