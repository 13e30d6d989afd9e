"""A model in the ingress replica's own process: no hop, for models that take about a millisecond.

Small batches run on the event loop itself. Requests that came while another one ran are there together
when the loop turns to them, and run together: most of the time of a small model's run is the same for
one row and for sixty. Nobody waits for anybody: there is no timer, and a request that is alone runs as
soon as the loop has turned once.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serve.context import RequestContext
from serve.gateway.errors import Overloaded, RequestTimeout
from serve.placement.base import Batch, Inputs, Outputs, Watch, joined, split, unwatched, wanted
from serve.runtimes.base import ModelMetadata, Runtime, RuntimeFailure

ROWS_ON_THE_LOOP = 64
"""The largest batch that runs on the event loop itself.

The way to a thread and back costs about 0.1 ms, as much as the run of one row; 64 rows take a
millisecond or two, which is what other requests then wait. Above that a thread pays off: the runtime
lets go of Python's lock while it runs.
"""

THREADS = 2
WAITING = 16
"""Large batches that may wait for a thread; one more is refused at once (503)."""


@dataclass(slots=True)
class _Request:
    inputs: Inputs
    rows: int
    outputs: Sequence[str]
    context: RequestContext
    answer: asyncio.Future[Outputs]


class Inline:
    """A runtime in this process. ``threads``: how many large batches run beside the event loop."""

    def __init__(self, runtime: Runtime, watch: Watch = unwatched, threads: int = THREADS) -> None:
        self._runtime = runtime
        self._watch = watch
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="infer")
        self._large = 0
        self._small: list[_Request] = []

    @property
    def metadata(self) -> ModelMetadata:
        return self._runtime.metadata

    @property
    def waiting(self) -> int:
        return self._large + len(self._small)

    async def predict(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        if rows > ROWS_ON_THE_LOOP:
            return await self._in_a_thread(inputs, rows, outputs, context)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outputs] = loop.create_future()
        if not self._small:
            loop.call_soon(self._run_small)
        self._small.append(_Request(inputs, rows, outputs, context, answer))
        return await answer

    async def close(self) -> None:
        while self.waiting:  # noqa: ASYNC110 - an event would cost every run, and this is rare
            await asyncio.sleep(0.01)
        self._threads.shutdown(wait=False)
        self._runtime.unload()

    def _run(self, inputs: Inputs, rows: int, outputs: Sequence[str], requests: int) -> Outputs:
        started = time.perf_counter()
        found = self._runtime.predict(inputs, outputs)
        self._watch(Batch(requests, rows, time.perf_counter() - started))
        return found

    def _run_small(self) -> None:
        """Run everything that gathered, in batches of at most ``ROWS_ON_THE_LOOP`` rows."""
        gathered, self._small = self._small, []
        batch: list[_Request] = []
        rows = 0
        for request in gathered:
            if request.answer.done():
                continue
            if reason := request.context.abandoned():
                request.answer.set_exception(reason)
                continue
            if rows + request.rows > ROWS_ON_THE_LOOP:
                self._run_batch(batch, rows)
                batch, rows = [], 0
            batch.append(request)
            rows += request.rows
        if batch:
            self._run_batch(batch, rows)

    def _run_batch(self, batch: Sequence[_Request], rows: int) -> None:
        names = [request.outputs for request in batch]
        try:
            found = self._run(joined([request.inputs for request in batch]), rows, wanted(names), len(batch))
        except RuntimeFailure as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            # One of them is at fault: each for itself, so that only that one fails.
            for request in batch:
                self._run_batch([request], request.rows)
            return
        except Exception as error:  # noqa: BLE001 - each request of the run is told, whatever it is
            for request in batch:
                request.answer.set_exception(error)
            return
        for request, outputs in zip(batch, split(found, [request.rows for request in batch], names), strict=True):
            request.answer.set_result(outputs)

    async def _in_a_thread(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        if self._large >= WAITING:
            raise Overloaded(self._large)
        self._large += 1
        work = self._threads.submit(functools.partial(self._run_if_awaited, inputs, rows, outputs, context))
        answer = asyncio.wrap_future(work)
        # Counted until the thread is done with it, also where the client gives up before.
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        left = None if context.deadline == math.inf else context.deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await answer
        except TimeoutError as error:
            raise RequestTimeout(context.seconds) from error

    def _left(self) -> None:
        self._large -= 1

    def _run_if_awaited(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        if reason := context.abandoned():
            raise reason
        return self._run(inputs, rows, outputs, 1)
