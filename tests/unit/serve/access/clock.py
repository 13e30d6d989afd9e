"""A clock that a test sets."""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970, and as many more as a test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
