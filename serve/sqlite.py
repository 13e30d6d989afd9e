"""SQLite's files, for the stores that are kept in one: ``sqlite:///PATH`` from the working directory,
``sqlite:////PATH`` from the root. (As SQLAlchemy and MLflow write it.)

What goes wrong is said by each store in its own words.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

LOCK_SECONDS = 5
"""How long a process waits for the writes of others."""


def path_of(rest: str) -> Path | None:
    """The file of a URL, of what is behind ``sqlite:``; ``None``: that is not ``///PATH``."""
    path = rest.removeprefix("///")
    return None if path == rest or not path or "\0" in path else Path(path)


def make(path: Path) -> None:
    """Make it, empty and for its owner alone, where it is not there. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only if it is new: closing any other descriptor of a database drops SQLite's own locks on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def connect(path: Path) -> sqlite3.Connection:
    """Raises: sqlite3.Error."""
    # mode=rw: a database that is not there is an error, not a new one with the mode of the umask.
    name = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(name, LOCK_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
