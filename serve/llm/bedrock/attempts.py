"""The attempts of one call: again in the same region where it may help, and then in the next."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from serve.gateway.errors import ServeError
from serve.llm.backend import Tokens, Work
from serve.llm.bedrock.errors import Again, Failure, NotOffered

FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 8.0

Answer = TypeVar("Answer")

Attempt = Callable[[str], Awaitable[Answer]]
"""In a region. Raises: Failure, ServeError."""

Guess = Callable[[float], Tokens]
"""What an attempt took that was given up after so many seconds."""


class Attempts:
    """``retries``: within a region. ``work`` gets what was tried in vain, and is asked before it is tried again."""

    def __init__(self, regions: Sequence[str], retries: int, work: Work, guess: Guess) -> None:
        self._regions = regions
        self._retries = retries
        self._work = work
        self._guess = guess
        self._billed = False

    async def answer(self, attempt: Attempt[Answer]) -> Answer:
        """The first answer; else what the last region said that has the model. Raises: ServeError."""
        told: Failure | None = None
        for region in self._regions:
            try:
                return await self._in(region, attempt)
            except Failure as failure:
                if told is None or not isinstance(failure.error, NotOffered):
                    told = failure
                if failure.again is Again.NOWHERE:
                    break
        if told is None:
            raise AssertionError(self._regions)
        raise told.error from told

    async def _in(self, region: str, attempt: Attempt[Answer]) -> Answer:
        for number in range(self._retries):
            try:
                return await self._once(region, attempt)
            except Failure as failure:
                if failure.again is not Again.HERE:
                    raise
            # Full jitter: callers that were refused together do not come back together.
            await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**number)))  # noqa: S311
        return await self._once(region, attempt)

    async def _once(self, region: str, attempt: Attempt[Answer]) -> Answer:
        if self._billed:
            self._work.again()
            # Whatever is tried until the next one that is billed has its room.
            self._billed = False
        began = time.monotonic()
        try:
            return await attempt(region)
        except Failure as failure:
            if failure.read:
                self._count(failure.took or self._guess(time.monotonic() - began))
            raise
        except ServeError:
            raise
        except BaseException:
            # Nobody waits any more, and Bedrock had it.
            self._count(self._guess(time.monotonic() - began))
            raise

    def _count(self, tokens: Tokens) -> None:
        self._billed = True
        self._work.add(tokens)
