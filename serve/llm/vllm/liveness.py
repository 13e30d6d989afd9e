"""Whether the engine's process still takes anything. vLLM's own check tells of one that has ended, and not of one that
hangs, as where a GPU does: that one would be ready for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class EngineStalled(Exception):
    """The engine has taken nothing for too long. Raw: ``(seconds,)``."""

    def __str__(self) -> str:
        return f"the engine has not answered for {self.args[0]:.0f} s"


class Liveness:
    """``ping``: what the engine answers between two of its steps. ``seconds``: that an answer may take."""

    def __init__(self, ping: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> None:
        self._ping = ping
        self._seconds = seconds
        self._asked: asyncio.Task[object] | None = None
        self._at = 0.0

    def check(self) -> None:
        """Ask it, unless it has been asked already. It does not wait for the answer.

        Raises:
            EngineStalled: what was asked is not answered in time.
            Exception: whatever ``ping`` raised.
        """
        if self._asked is None or self._asked.done():
            if self._asked is not None:
                self._asked.result()
            self._at = time.monotonic()
            self._asked = asyncio.get_running_loop().create_task(self._ping())
        elif (waited := time.monotonic() - self._at) > self._seconds:
            raise EngineStalled(waited)
