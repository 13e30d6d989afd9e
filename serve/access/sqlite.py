"""Keys in a SQLite database, of a URL as in ``serve.sqlite``.

SQLite's default journal serves: a write takes milliseconds and readers wait for it, and unlike WAL it leaves one file,
whose mode is all there is to protect.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from serve import sqlite
from serve.access.documents import key_from_json, key_to_json
from serve.access.keys import ApiKey
from serve.access.stores import BadStoreAddress, KeyExists, KeyNotFound, KeyStoreUnreadable, KeyStoreUnwritable, missing

TABLE = "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, record TEXT NOT NULL)"


class SqliteStore:
    """Keeps to :class:`serve.access.stores.KeyStore`: a row a key, its JSON in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Kept open, because PRAGMA data_version only says what others changed since this connection
        # looked last. For the same reason this store's own writes use another one.
        self._reader: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._opened = 0

    @classmethod
    def at(cls, rest: str) -> SqliteStore:
        """The store of a URI, of what is behind ``sqlite:``.

        Raises:
            BadStoreAddress: it is not ``///PATH``.
        """
        path = sqlite.path_of(rest)
        if path is None:
            raise BadStoreAddress(f"keys 'sqlite:{rest}': expected sqlite:///PATH, or sqlite:////PATH from the root")
        return cls(path)

    def read(self) -> Mapping[str, ApiKey]:
        with self._reading() as reader:
            rows = reader.execute("SELECT record FROM keys").fetchall()
        keys = (key_from_json(record, str(self._path)) for (record,) in rows)
        return {key.id: key for key in keys}

    def version(self) -> Hashable:
        with self._reading() as reader:
            return self._opened, reader.execute("PRAGMA data_version").fetchone()

    def add(self, key: ApiKey) -> None:
        record = key_to_json(key)
        self._make_file()
        with self._writing() as writer:
            try:
                writer.execute("INSERT INTO keys VALUES (?, ?)", (key.id, record))
            except sqlite3.IntegrityError as error:
                raise KeyExists(key.id, str(self._path)) from error

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        if not self._path.exists():
            raise missing(str(self._path))
        with self._writing() as writer:
            found = writer.execute("SELECT record FROM keys WHERE id = ?", (key_id,)).fetchone()
            if found is None:
                raise KeyNotFound(key_id, str(self._path))
            key = key_from_json(found[0], str(self._path)).revoked_from(when)
            writer.execute("UPDATE keys SET record = ? WHERE id = ?", (key_to_json(key), key_id))
        return key

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._current_reader()
            except FileNotFoundError as error:
                self._forget_reader()
                raise missing(str(self._path)) from error
            except (sqlite3.Error, OSError) as error:
                self._forget_reader()
                raise KeyStoreUnreadable(f"{self._path}: can't be read as a database of keys ({error})") from error

    def _current_reader(self) -> sqlite3.Connection:
        status = self._path.stat()
        # Where the file was replaced, the open one is no longer what the path names.
        if self._reader is None or self._file != (status.st_dev, status.st_ino):
            self._forget_reader()
            self._reader = sqlite.connect(self._path)
            self._file = (status.st_dev, status.st_ino)
            self._opened += 1
        return self._reader

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only one from its start, so that what it reads stays so until it writes."""
        try:
            with contextlib.closing(sqlite.connect(self._path)) as writer:
                writer.execute("BEGIN IMMEDIATE")
                writer.execute(TABLE)
                yield writer
                writer.execute("COMMIT")
        except sqlite3.Error as error:
            raise KeyStoreUnwritable(
                f"{self._path}: can't be written ({error}): see that it is a database of keys, that its disk has "
                "room and that this user may write to it and to its folder"
            ) from error

    def _make_file(self) -> None:
        try:
            sqlite.make(self._path)
        except OSError as error:
            raise KeyStoreUnwritable(f"{self._path}: can't be made ({error.strerror}): name another place") from error
