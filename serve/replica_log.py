"""The log file of a replica's process, which Serve writes late."""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler


def write_at_once(level: int) -> None:
    """In a replica: write its lines from this level on as they come.

    Serve keeps them back, up to a thousand, until one is an error, so that no request waits for a disk. What is said
    seldom would not be seen for days.
    """
    for handler in logging.getLogger("ray.serve").handlers:
        if isinstance(handler, MemoryHandler):
            handler.flushLevel = level
