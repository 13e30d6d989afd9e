"""Keys in a JSON file: ``file:PATH`` from the working directory, ``file:///PATH`` from the root.

Readable by eye, fit to be mounted into a container. A change replaces the file at once, so a reader
sees the keys before or after it, and never half of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from serve.access import documents
from serve.access.keys import ApiKey
from serve.access.stores import BadStoreAddress, KeyStoreUnreadable, KeyStoreUnwritable, missing


class JsonFileStore:
    """Keeps to :class:`serve.access.stores.KeyStore`: one document."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def at(cls, rest: str) -> JsonFileStore:
        """The store of a URI, of what is behind ``file:``.

        Raises:
            BadStoreAddress: it is neither ``PATH`` nor ``///PATH``.
        """
        path = rest.removeprefix("//")
        from_root = path != rest
        if not path or "\0" in path or from_root != path.startswith("/"):
            raise BadStoreAddress(f"keys 'file:{rest}': expected file:PATH, or file:///PATH from the root")
        return cls(Path(path))

    def read(self) -> Mapping[str, ApiKey]:
        with self._reading():
            text = self._path.read_bytes()
        return documents.from_json(text, str(self._path))

    def version(self) -> Hashable:
        with self._reading():
            status = self._path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def add(self, key: ApiKey) -> None:
        self._change(lambda keys: documents.with_key(keys, key, str(self._path)), new=True)

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        return self._change(lambda keys: documents.with_revoked(keys, key_id, when, str(self._path)))[key_id]

    def _change(
        self, change: Callable[[Mapping[str, ApiKey]], dict[str, ApiKey]], *, new: bool = False
    ) -> dict[str, ApiKey]:
        if not new and not self._path.exists():
            raise missing(str(self._path))
        with self._writing() as path:
            changed = change(self.read() if path.exists() else {})
            _replace(path, documents.to_json(changed, indent=2) + "\n")
        return changed

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise missing(str(self._path)) from error
        except OSError as error:
            raise KeyStoreUnreadable(f"{self._path}: can't be read ({error.strerror})") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Path]:
        """Be the only writer. The lock is a file beside, because the file itself is replaced."""
        # What is replaced is the file that a link names, not the link.
        path = self._path.resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield path
            finally:
                os.close(descriptor)
        except OSError as error:
            raise KeyStoreUnwritable(
                f"{self._path}: can't be written ({error.strerror}): see that its disk has room and that this user "
                "may write to its folder"
            ) from error


def _replace(path: Path, text: str) -> None:
    # mkstemp makes the file with mode 0600.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
