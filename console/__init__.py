"""How every command of this project speaks: stage lines with a time, and one line for a mistake.

Imports nothing of ours, so each package may use it.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NoReturn, TextIO

USER_MISTAKE = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141
"""128 and SIGPIPE, as a shell tells it."""

DURATION = re.compile(r"([1-9][0-9]{0,4})([dhm])")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class UserError(Exception):
    """A mistake that the user can mend: its text is one line that says what, where and what to do.

    Every package's own errors derive from it. A command prints the text and exits with code 2.
    """


class OutputClosed(SystemExit):
    """Nobody reads standard output any more, as `head` does not when it has its lines.

    No mistake and no bug: it ends any program quietly, with exit code 141.
    """

    def __init__(self) -> None:
        super().__init__(OUTPUT_CLOSED)


class Arguments(argparse.ArgumentParser):
    """Command-line arguments whose mistakes are one line too, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


class Stage:
    """A running step. ``detail`` is what its closing line says beside the time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""

    def note(self, text: str) -> None:
        """Print a line of progress under the stage."""
        say(f"  {text}")


def say(text: str, end: str = "\n") -> None:
    """Raises: OutputClosed: nobody reads it."""
    if not _printed(text, sys.stdout, end):
        raise OutputClosed


def _printed(text: str, stream: TextIO, end: str = "\n") -> bool:
    try:
        print(text, end=end, file=stream, flush=True)
    except BrokenPipeError:
        # The interpreter flushes it once more when it exits, and would tell of the pipe then.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return False
    return True


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    """Print ``▸ name`` now and ``✓ name`` with the seconds it took when the block ends."""
    say(f"▸ {name}")
    started = time.monotonic()
    current = Stage(name)
    try:
        yield current
    except BaseException:
        # What failed is told first.
        with suppress(OutputClosed):
            say(f"✗ {name}  {time.monotonic() - started:.1f} s")
        raise
    detail = f"  {current.detail}" if current.detail else ""
    say(f"✓ {name}  {time.monotonic() - started:.1f} s{detail}")


def one_line(text: str) -> str:
    return " ".join(text.split())


def duration(text: str) -> timedelta | None:
    """``90d``, ``12h`` or ``30m``, as the commands take a time; None: it is something else."""
    found = DURATION.fullmatch(text)
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None


def run(command: Callable[[], int]) -> int:
    """Run a command and return its exit code.

    A :class:`UserError` becomes one line on standard error and exit code 2, Ctrl-C exit code 130, output that nobody
    reads any more exit code 141. Anything else is a bug of ours and keeps its traceback.
    """
    _escape_what_cannot_be_encoded(sys.stdout, sys.stderr)
    try:
        return command()
    except UserError as error:
        _printed(f"error: {one_line(str(error))}", sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        _printed("interrupted", sys.stderr)
        return INTERRUPTED
    except OutputClosed:
        return OUTPUT_CLOSED


def _escape_what_cannot_be_encoded(*streams: TextIO) -> None:
    for stream in streams:
        # The handlers that raise: who chose another one keeps it.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
