"""One line of JSON a request, in a file of the replica's own: all refusals, and a sample of the rest."""

from __future__ import annotations

import logging
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

MAX_FILE_BYTES = 50 * 2**20
FILES_KEPT = 3
MOST_REFUSALS = 500
"""Refusals that are written between two flushes; a flood of bad requests must not become one of bytes."""


@dataclass(frozen=True, slots=True)
class Line:
    """A request. ``seconds`` from its first byte to its answer; ``trace`` is W3C's ``traceparent``."""

    request_id: str
    trace: str | None
    caller: str
    protocol: str
    method: str
    path: str
    status: int
    reason: str | None
    model: str | None
    version: str | None
    rows: int
    bytes_in: int
    bytes_out: int
    seconds: float


class AccessLog:
    """``sample``: the share of good answers that are written, from 0 to 1. ``folder=None`` writes nothing."""

    def __init__(self, folder: Path | None, sample: float, choose: random.Random | None = None) -> None:
        self._sample = sample
        self._random = (choose or random.Random()).random  # noqa: S311 - a sample, no secret
        self._lines: list[tuple[datetime, Line]] = []
        self._refusals = 0
        self._dropped = 0
        self._handler: RotatingFileHandler | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(
                folder / f"access-{os.getpid()}.jsonl", maxBytes=MAX_FILE_BYTES, backupCount=FILES_KEPT, delay=True
            )

    def wants(self, status: int) -> bool:
        """Whether this answer's line is written. Asked before the line is made."""
        if self._handler is None:
            return False
        if status < 400:
            return self._sample > 0 and self._random() < self._sample
        self._refusals += 1
        if self._refusals > MOST_REFUSALS:
            self._dropped += 1
            return False
        return True

    def write(self, line: Line) -> None:
        self._lines.append((datetime.now(UTC), line))

    def flush(self) -> None:
        """Write what came since the last time. Blocks on the disk: for a thread."""
        lines, self._lines = self._lines, []
        dropped, self._dropped, self._refusals = self._dropped, 0, 0
        if self._handler is None:
            return
        for at, line in lines:
            self._emit(orjson.dumps({"at": at, **_fields(line)}))
        if dropped:
            self._emit(orjson.dumps({"at": datetime.now(UTC), "refusals_not_written": dropped}))

    def close(self) -> None:
        """Write what came, and close the file."""
        self.flush()
        if self._handler is not None:
            self._handler.close()

    def _emit(self, line: bytes) -> None:
        assert self._handler is not None  # noqa: S101 - flush has looked
        self._handler.emit(logging.LogRecord("access", logging.INFO, "", 0, line.decode("utf-8"), None, None))


def _fields(line: Line) -> dict[str, object]:
    return {name: value for name in Line.__slots__ if (value := getattr(line, name)) is not None}
