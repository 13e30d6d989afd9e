"""The ledger in a SQLite database, of a URL as in ``serve.sqlite``.

In WAL mode, so that who reads the sums of a year keeps nobody from writing. The statements are standard SQL but for
the triggers and pragmas.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from serve import sqlite
from serve.llm.ledger.entries import Entry
from serve.llm.ledger.store import (
    SECONDS_A_DAY,
    BadLedgerAddress,
    By,
    LedgerUnreadable,
    LedgerUnwritable,
    Spending,
    Sums,
)

HELD_SECONDS = 60
"""How long a process's reservations count without being told again: it may be gone."""

MICROSECONDS = 1_000_000
VERSION = 2

SCHEMA = (
    """CREATE TABLE uses (
        id TEXT PRIMARY KEY, request_id TEXT NOT NULL, at BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        backend TEXT NOT NULL, operation TEXT NOT NULL,
        input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
        first_token_seconds DOUBLE PRECISION, seconds DOUBLE PRECISION NOT NULL, dollars DOUBLE PRECISION,
        ended TEXT NOT NULL, prompt TEXT NOT NULL DEFAULT '', prompt_version TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX uses_at ON uses (at)",
    "CREATE INDEX uses_request_id ON uses (request_id)",
    # Budgets read this every flush: the uses of a month may be millions, its days by key and model are few.
    """CREATE TABLE spent (
        day BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, dollars DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (day, key, model))""",
    """CREATE TABLE held (
        process TEXT NOT NULL, day BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        dollars DOUBLE PRECISION NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (process, day, key, model))""",
    """CREATE TRIGGER uses_stay_as_they_are BEFORE UPDATE ON uses
        BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
    """CREATE TRIGGER uses_stay BEFORE DELETE ON uses BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
    f"PRAGMA user_version = {VERSION}",
)

RENEWALS = {
    1: (
        "ALTER TABLE uses ADD COLUMN prompt TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE uses ADD COLUMN prompt_version TEXT NOT NULL DEFAULT ''",
    ),
}
"""What makes a ledger of an earlier version one of the next."""

ADD_USE = f"INSERT INTO uses VALUES ({', '.join('?' * 16)}) ON CONFLICT (id) DO NOTHING"  # noqa: S608
ADD_SPENT = """INSERT INTO spent VALUES (?, ?, ?, ?)
    ON CONFLICT (day, key, model) DO UPDATE SET dollars = spent.dollars + excluded.dollars"""
FORGET_HELD = "DELETE FROM held WHERE process = ? OR at < ?"
ADD_HELD = "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?)"
SPENT = """SELECT key, model, day, SUM(dollars) FROM (
        SELECT key, model, day, dollars FROM spent WHERE day >= ?
        UNION ALL SELECT key, model, day, dollars FROM held WHERE process <> ? AND day >= ?) AS taken
    GROUP BY key, model, day"""
SUMS = """SELECT at / ? AS span, {name} AS name, COUNT(*), SUM(input_tokens), SUM(cached_tokens), SUM(output_tokens),
        SUM(dollars), COUNT(*) - COUNT(dollars)
    FROM uses WHERE at >= ? AND at < ? GROUP BY 1, 2 ORDER BY 1, 2"""


NAMES: dict[By, str] = {
    "key": "key",
    "model": "model",
    "backend": "backend",
    "prompt": "CASE prompt WHEN '' THEN '' ELSE prompt || '/' || prompt_version END",
    "day": "''",
}


class SqliteLedger:
    """Keeps to :class:`serve.llm.ledger.store.UsageStore`."""

    def __init__(self, path: Path) -> None:
        # A process may change its folder later.
        self._path = path.absolute()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @classmethod
    def at(cls, rest: str) -> SqliteLedger:
        """The store of a URL, of what is behind ``sqlite:``.

        Raises:
            BadLedgerAddress: it is not ``///PATH``.
        """
        path = sqlite.path_of(rest)
        if path is None:
            raise BadLedgerAddress(f"ledger 'sqlite:{rest}': expected sqlite:///PATH, or sqlite:////PATH from the root")
        return cls(path)

    @property
    def journals(self) -> Path:
        return self._path.with_name(f"{self._path.name}.journals")

    def prepare(self) -> None:
        self._make_file()
        with self._writing():
            pass

    def write(self, entries: Sequence[Entry], ended: str | None = None) -> None:
        with self._writing() as writer:
            _add(writer, entries)
            if ended is not None:
                writer.execute(FORGET_HELD, (ended, 0))

    def exchange(self, process: str, entries: Sequence[Entry], held: Spending, first_day: int) -> Spending:
        now = _microseconds(time.time())
        with self._writing() as writer:
            _add(writer, entries)
            writer.execute(FORGET_HELD, (process, now - HELD_SECONDS * MICROSECONDS))
            rows = [(process, day, key, model, dollars, now) for (key, model, day), dollars in held.items()]
            writer.executemany(ADD_HELD, rows)
            found = writer.execute(SPENT, (first_day, process, first_day)).fetchall()
        return {(key, model, day): dollars for key, model, day, dollars in found}

    def sums(self, by: By, since: datetime | None, until: datetime, span_seconds: int) -> list[Sums]:
        if not self._path.exists():
            raise LedgerUnreadable(f"{self._path}: there is no ledger yet: a running ingress makes it")
        span = span_seconds * MICROSECONDS
        first = 0 if since is None else _microseconds(since.timestamp())
        with self._lock, self._mapped(LedgerUnreadable, "read"):
            rows = (
                self._current()
                .execute(SUMS.format(name=NAMES[by]), (span, first, _microseconds(until.timestamp())))
                .fetchall()
            )
        return [
            Sums(
                datetime.fromtimestamp(number * span_seconds, UTC),
                name,
                requests,
                given,
                cached,
                output,
                dollars or 0.0,
                unknown,
            )
            for number, name, requests, given, cached, output, dollars, unknown in rows
        ]

    def close(self) -> None:
        with self._lock:
            self._forget()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only one from its start."""
        with self._lock, self._mapped(LedgerUnwritable, "written"):
            writer = self._current()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
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
        if _version(connection) == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        found = _version(connection)
        if found > VERSION:
            raise LedgerUnreadable(f"{self._path}: is a ledger of version {found}, and this program knows {VERSION}")
        if found == 0:
            if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                raise LedgerUnreadable(f"{self._path}: is a database of something else: name another file")
            for statement in SCHEMA:
                connection.execute(statement)
        else:
            # Others that write to it as it was keep their uses in their journals from now on: none is lost.
            for earlier in range(found, VERSION):
                for statement in RENEWALS[earlier]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    def _make_file(self) -> None:
        try:
            sqlite.make(self._path)
        except OSError as error:
            raise LedgerUnwritable(f"{self._path}: can't be made ({error.strerror}): name another place") from error


def _add(writer: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    for entry in entries:
        use = entry.use
        at = _microseconds(use.at.timestamp())
        tokens = (use.tokens.input, use.tokens.output, use.tokens.cached)
        times = (use.first_token_seconds, use.seconds)
        row = (use.backend, use.operation, *tokens, *times, use.dollars, use.ended, use.prompt, use.prompt_version)
        key, model = use.key, use.model
        added = writer.execute(ADD_USE, (entry.id, use.request_id, at, key, model, *row)).rowcount
        if added and use.dollars:
            writer.execute(ADD_SPENT, (at // (SECONDS_A_DAY * MICROSECONDS), key, model, use.dollars))


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


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
