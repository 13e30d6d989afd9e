"""The share of time that something was at work, which is what autoscaling goes by."""

from __future__ import annotations

import threading
import time
from types import TracebackType


class BusyTime:
    """Entered and left by up to ``workers`` threads at once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._running = 0
        self._seconds = 0.0
        self._changed = self._asked = time.monotonic()

    def __enter__(self) -> None:
        with self._lock:
            self._count()
            self._running += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._count()
            self._running -= 1

    def share(self) -> float:
        """0 (idle) to 1 (all workers at work all the time), since this was last asked."""
        with self._lock:
            self._count()
            seconds, self._seconds = self._seconds, 0.0
            passed, self._asked = self._changed - self._asked, self._changed
            return min(1.0, seconds / (passed * self._workers)) if passed > 0 else 0.0

    def _count(self) -> None:
        now = time.monotonic()
        self._seconds += self._running * (now - self._changed)
        self._changed = now
