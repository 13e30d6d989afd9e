"""The ledger in a SQLite database, of a URL as in ``serve.sqlite``.

In WAL mode, so that who reads the sums of a year keeps nobody from writing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from serve import sqlite
from serve.llm.ledger import sql
from serve.llm.ledger.entries import Entry
from serve.llm.ledger.store import NOT_YET, BadLedgerAddress, By, LedgerUnreadable, LedgerUnwritable, Spending, Sums

GUARDS = (
    """CREATE TRIGGER uses_stay_as_they_are BEFORE UPDATE ON uses
        BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
    """CREATE TRIGGER uses_stay BEFORE DELETE ON uses BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
)


class SqliteLedger:
    """Keeps to :class:`serve.llm.ledger.store.UsageStore`."""

    def __init__(self, path: Path, journals: Path | None = None) -> None:
        # A process may change its folder later.
        self._path = path.absolute()
        self._journals = (journals or path.with_name(f"{path.name}.journals")).absolute()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @classmethod
    def at(cls, rest: str, journals: Path | None = None) -> SqliteLedger:
        """The store of a URL, of what is behind ``sqlite:``.

        Raises:
            BadLedgerAddress: it is not ``///PATH``.
        """
        path = sqlite.path_of(rest)
        if path is None:
            raise BadLedgerAddress(f"ledger 'sqlite:{rest}': expected sqlite:///PATH, or sqlite:////PATH from the root")
        return cls(path, journals)

    @property
    def journals(self) -> Path:
        return self._journals

    def prepare(self) -> None:
        self._make_file()
        with self._writing():
            pass

    def write(self, entries: Sequence[Entry], ended: str | None = None) -> None:
        with self._writing() as writer:
            sql.write(writer, entries, ended)

    def exchange(self, process: str, entries: Sequence[Entry], held: Spending, first_day: int) -> Spending:
        with self._writing() as writer:
            return sql.exchange(writer, process, entries, held, first_day)

    def sums(self, by: By, since: datetime | None, until: datetime, span_seconds: int) -> list[Sums]:
        if not self._path.exists():
            raise LedgerUnreadable(f"{self._path}: {NOT_YET}")
        with self._lock, self._mapped(LedgerUnreadable, "read"):
            return sql.sums(_Transaction(self._current()), by, since, until, span_seconds)

    def close(self) -> None:
        with self._lock:
            self._forget()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[_Transaction]:
        with self._lock, self._mapped(LedgerUnwritable, "written"):
            writer = self._current()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield _Transaction(writer)
                writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _mapped(self, kind: type[LedgerUnreadable | LedgerUnwritable], done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise kind(
                f"{self._path}: can't be {done} ({error}): see that it is a ledger, that its disk has room and that "
                "this user may write to it and to its folder"
            ) from error

    def _current(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._make_file()
        status = self._path.stat()
        # Where the file was replaced, what is written to the open one would be gone with it.
        if self._connection is None or self._file != (status.st_dev, status.st_ino):
            self._forget()
            self._connection = self._connect()
            self._file = (status.st_dev, status.st_ino)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite.connect(self._path)
        try:
            # First, so that a database of something else stays as it is.
            self._make_tables(connection)
            _patiently(connection, "PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == sql.VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        found = _version(connection)
        if found == 0 and connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            raise LedgerUnreadable(f"{self._path}: is a database of something else: name another file")
        for statement in sql.made_or_renewed(found, GUARDS, str(self._path)):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {sql.VERSION}")
        connection.execute("COMMIT")

    def _make_file(self) -> None:
        try:
            sqlite.make(self._path)
        except OSError as error:
            raise LedgerUnwritable(f"{self._path}: can't be made ({error.strerror}): name another place") from error


class _Transaction:
    """Keeps to :class:`serve.llm.ledger.sql.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def run_each(self, statement: str, rows: Sequence[Sequence[object]]) -> list[tuple[Any, ...]]:
        return [found for row in rows for found in self.run(statement, row)]

    def now(self) -> int:
        return sql.microseconds(time.time())


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """For the change to WAL, at which SQLite does not wait for others by itself."""
    until = time.monotonic() + sqlite.LOCK_SECONDS
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
