"""Features in a SQLite database: ``sqlite:///PATH`` from the working directory, ``sqlite:////PATH`` from the root.

A row an item, its features as JSON. For one machine; with WAL, so that readers don't wait for a publisher.
Items that have expired go when something is next written.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spark_jobs.online import BadStoreAddress, Item, StoreUnusable, Written

LOCK_SECONDS = 30
"""How long a process waits for the writes of others."""

ENTITIES_PER_QUERY = 500

TABLE = """
CREATE TABLE IF NOT EXISTS online (
    entity TEXT NOT NULL,
    view TEXT NOT NULL,
    event_time TEXT NOT NULL,
    contract TEXT NOT NULL,
    features TEXT NOT NULL,
    published_at TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (entity, view)
) WITHOUT ROWID
"""

PUT = """
INSERT INTO online VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, view) DO UPDATE SET
    event_time = excluded.event_time, contract = excluded.contract, features = excluded.features,
    published_at = excluded.published_at, expires_at = excluded.expires_at
WHERE excluded.event_time > event_time OR (excluded.event_time = event_time AND (
    excluded.contract <> contract OR excluded.features <> features OR excluded.expires_at IS NOT expires_at))
"""


class SqliteStore:
    """Keeps to :class:`spark_jobs.online.OnlineStore`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def at(cls, rest: str) -> SqliteStore:
        """The store of a URI, of what is behind ``sqlite:``.

        Raises:
            BadStoreAddress: it is not ``///PATH``.
        """
        path = rest.removeprefix("///")
        if path == rest or not path or "\0" in path:
            raise BadStoreAddress(
                f"online store 'sqlite:{rest}': expected sqlite:///PATH, or sqlite:////PATH from the root"
            )
        return cls(Path(path))

    def write(self, items: Sequence[Item]) -> Written:
        done = Written()
        with self._transaction(make=True) as connection:
            connection.execute("DELETE FROM online WHERE expires_at <= ?", (int(time.time()),))
            for item in items:
                if connection.execute(PUT, _row(item)).rowcount:
                    done += Written(written=1)
                    continue
                key = (item.entity, item.view)
                [there] = connection.execute("SELECT event_time FROM online WHERE entity = ? AND view = ?", key)
                done += Written(older=1) if there[0] > item.event_time else Written(unchanged=1)
        return done

    def read(self, entities: Sequence[str], view: str) -> dict[str, Item]:
        found = {}
        with self._transaction(make=False) as connection:
            for start in range(0, len(entities), ENTITIES_PER_QUERY):
                some = entities[start : start + ENTITIES_PER_QUERY]
                marks = ", ".join("?" * len(some))
                # The marks are question marks alone.
                rows = connection.execute(
                    f"SELECT * FROM online WHERE view = ? AND entity IN ({marks})",  # noqa: S608
                    (view, *some),
                )
                found.update({row[0]: self._item(row) for row in rows})
        return found

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _item(self, row: tuple[str, str, str, str, str, str, int | None]) -> Item:
        entity, view, event_time, contract, features, published_at, expires_at = row
        try:
            return Item(entity, view, event_time, contract, json.loads(features), published_at, expires_at)
        except ValueError as error:
            raise StoreUnusable(
                f"{self._path}: the features of {entity} are not JSON ({error}): publish them again"
            ) from error

    @contextmanager
    def _transaction(self, *, make: bool) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._opened(make=make)
                connection.execute("BEGIN IMMEDIATE" if make else "BEGIN")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # A full disk has ended it already.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise StoreUnusable(
                    f"{self._path}: can't be used as an online store ({error}): see that its folder and disk let it "
                    "be written, and that it is a database that `python -m spark_jobs publish` has made"
                ) from error

    def _opened(self, *, make: bool) -> sqlite3.Connection:
        if self._connection is None:
            if make:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            elif not self._path.exists():
                raise StoreUnusable(
                    f"{self._path}: nothing is published there yet: `python -m spark_jobs publish` does it"
                )
            connection = sqlite3.connect(
                self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(TABLE)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _row(item: Item) -> tuple[str, str, str, str, str, str, int | None]:
    features = json.dumps(item.features, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return item.entity, item.view, item.event_time, item.contract, features, item.published_at, item.expires_at
