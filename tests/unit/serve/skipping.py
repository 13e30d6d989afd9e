"""Time that passes only where nothing else is left to do, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Does not wait for a time, but skips it."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout if timeout is None else 0)
        if timeout is not None and not found:
            self.skipped += max(0.0, timeout)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.skipped


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """As ``asyncio.run``, by a loop whose timers no slow machine upsets. ``work`` is to have no threads or sockets."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
