"""Concurrent requests to a model elsewhere share one call.

A request is sent at once while a call is free; only when all are under way does it wait, and then it
goes with whatever else waits, as the next one comes back. So a client alone never waits for others
(there is no timer), and the busier it gets the larger the batches. The queue is bounded by requests;
one more is refused at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from serve.context import RequestContext
from serve.gateway.errors import Overloaded, RequestTimeout
from serve.placement.base import Batch, Inputs, Outputs, Watch, joined, split, unwatched, wanted
from serve.runtimes.base import RuntimeFailure

Call = Callable[[Inputs, Sequence[str], float], Awaitable[Outputs]]
"""``(inputs, outputs, deadline)``: runs a batch elsewhere; ``deadline`` is the latest of its requests'."""


@dataclass(slots=True)
class _Request:
    inputs: Inputs
    rows: int
    outputs: Sequence[str]
    context: RequestContext
    answer: asyncio.Future[Outputs]


class Coalescer:
    """``batch_rows``: the most rows in a shared call. ``calls``: how many may be under way at once.
    ``queue``: how many requests may wait."""

    def __init__(self, call: Call, *, batch_rows: int, calls: int, queue: int, watch: Watch = unwatched) -> None:
        self._call = call
        self._batch_rows = batch_rows
        self._free = calls
        self._limit = queue
        self._watch = watch
        self._queue: deque[_Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def predict(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        """Raises: Overloaded, RequestTimeout, ClientGone, RuntimeFailure, and whatever the call raises."""
        if len(self._queue) >= self._limit:
            raise Overloaded(len(self._queue), "requests")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outputs] = loop.create_future()
        self._queue.append(_Request(inputs, rows, outputs, context, answer))
        if self._free and not self._scheduled:
            self._scheduled = True
            # Those that the loop reads in this turn go together.
            loop.call_soon(self._send)
        if context.deadline == math.inf:
            return await answer
        timer = loop.call_later(max(0.0, context.deadline - time.monotonic()), _expire, answer, context.seconds)
        try:
            return await answer
        finally:
            timer.cancel()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._queue or self._tasks:  # noqa: ASYNC110 - an event would cost every call, and this is rare
            await asyncio.sleep(0.01)

    def _send(self) -> None:
        self._scheduled = False
        while self._free and (batch := self._next()):
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free += 1
        self._send()

    def _next(self) -> list[_Request]:
        """The requests of the next call: the oldest, and as many after it as fit."""
        batch: list[_Request] = []
        rows = 0
        while self._queue:
            request = self._queue[0]
            if request.answer.done():
                self._queue.popleft()
            elif reason := request.context.abandoned():
                self._queue.popleft().answer.set_exception(reason)
            elif batch and rows + request.rows > self._batch_rows:
                break
            else:
                batch.append(self._queue.popleft())
                rows += request.rows
        return batch

    async def _run(self, batch: Sequence[_Request]) -> None:
        names = [request.outputs for request in batch]
        rows = [request.rows for request in batch]
        started = time.perf_counter()
        try:
            deadline = max(request.context.deadline for request in batch)
            found = await self._call(joined([request.inputs for request in batch]), wanted(names), deadline)
        except RuntimeFailure as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One of them is at fault: each for itself, so that only that one fails.
            for request in batch:
                await self._run([request])
            return
        except Exception as error:  # noqa: BLE001 - each request of the call is told, whatever it is
            for request in batch:
                _fail(request, error)
            return
        self._watch(Batch(len(batch), sum(rows), time.perf_counter() - started))
        for request, outputs in zip(batch, split(found, rows, names), strict=True):
            if not request.answer.done():
                request.answer.set_result(outputs)


def _expire(answer: asyncio.Future[Outputs], seconds: float) -> None:
    if not answer.done():
        answer.set_exception(RequestTimeout(seconds))


def _fail(request: _Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
