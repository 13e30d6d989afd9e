"""A clock that a test sets."""

from __future__ import annotations

import time


class Clock:
    """Stands at the seconds since 1970 of its beginning, and as many more as a test says."""

    def __init__(self) -> None:
        self._began = time.time()
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._began + self.ahead
