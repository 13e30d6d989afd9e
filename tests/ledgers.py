"""Where a ledger is kept, as tests look at it: in each of the databases, empty at first."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from serve.llm.ledger.store import UsageStore, open_store
from tests.postgresql import Server


class Place(Protocol):
    """``machine``: a folder with the journals of one."""

    url: str
    machine: Path

    def store(self) -> UsageStore: ...

    def query(self, statement: str) -> list[tuple[Any, ...]]: ...

    def held_up(self) -> contextlib.AbstractContextManager[None]:
        """Somebody else keeps everybody from writing."""
        ...

    def take_away(self) -> None:
        """All of it."""
        ...


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self._file = folder / "usage.db"
        self.url = f"sqlite:///{self._file}"
        self.machine = folder / "usage.db.journals"

    def store(self) -> UsageStore:
        return open_store(self.url)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None)) as database:
            return database.execute(statement).fetchall()

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    def take_away(self) -> None:
        for file in self._file.parent.glob("usage.db*"):
            if file.is_file():
                file.unlink()


class PostgresqlPlace:
    """``database``: one that other machines write to; ``None``: a new one."""

    def __init__(self, folder: Path, server: Server, database: str | None = None) -> None:
        self._server = server
        self.database = database or server.create()
        self.url = f"{server.url(self.database)}?connect_timeout=60"
        self.machine = folder / "journals"

    def store(self) -> UsageStore:
        return open_store(self.url, self.machine)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._server.connect(self.database) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        with self._server.connect(self.database) as other, other.transaction():
            other.execute("LOCK TABLE uses")
            yield

    def take_away(self) -> None:
        self.query("DROP TABLE uses, spent, held, ledger_version")
        self.query("DROP FUNCTION uses_stay_as_they_are")
