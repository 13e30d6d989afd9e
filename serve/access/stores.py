"""Where keys are kept. A store is a file with a class that keeps to :class:`KeyStore`, and a line in :data:`STORES`.

Importing this module loads none of them.

Errors::

    UserError
    └── KeyStoreError
        ├── BadStoreAddress      the URI is not one of a store
        ├── KeyStoreUnreadable   it is not there, can't be reached, or what it holds is not keys
        ├── KeyStoreUnwritable   it can be read, and a change does not get into it
        ├── KeyNotFound          no key has this id
        └── KeyExists            one has it already
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Protocol

from console import UserError
from serve.access.keys import ApiKey


class KeyStoreError(UserError):
    """Keys can't be read or changed."""


class BadStoreAddress(KeyStoreError):
    """The URI is not one of a store."""


class KeyStoreUnreadable(KeyStoreError):
    """The store is not there, can't be reached, or what it holds is not keys."""


class KeyStoreUnwritable(KeyStoreError):
    """The store can be read, and a change does not get into it."""


class KeyNotFound(KeyStoreError):
    """No key has this id. Raw: ``(key_id, where)``."""

    def __init__(self, key_id: str, where: str) -> None:
        super().__init__(key_id, where)

    def __str__(self) -> str:
        return f"{self.args[1]}: no key has the id {self.args[0]!r}: `python -m serve keys list` shows them"


class KeyExists(KeyStoreError):
    """A key with this id is there already. Raw: ``(key_id, where)``."""

    def __init__(self, key_id: str, where: str) -> None:
        super().__init__(key_id, where)

    def __str__(self) -> str:
        return f"{self.args[1]}: a key has the id {self.args[0]} already: create another"


class KeyStore(Protocol):
    """Keys that several processes read and change at once. Each method may block, and may be called in any thread.

    Raises (each method):
        KeyStoreUnreadable: nothing has been added yet, the store can't be reached, or it holds no keys.
    """

    def read(self) -> Mapping[str, ApiKey]:
        """Every key, by id, also those that have ended."""

    def version(self) -> Hashable:
        """Something cheap to ask that differs whenever what :meth:`read` gives differs."""

    def add(self, key: ApiKey) -> None:
        """Keep a new key; the store is made where it is not there.

        Raises:
            KeyExists: a key has its id.
            KeyStoreUnwritable: it can't be kept.
        """

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        """End a key at a time, which may lie ahead, and give it as it is now. It never ends later than it did.

        Raises:
            KeyNotFound: there is no such key.
            KeyStoreUnwritable: the change can't be kept.
        """


def _sqlite(rest: str) -> KeyStore:
    from serve.access.sqlite import SqliteStore

    return SqliteStore.at(rest)


def _file(rest: str) -> KeyStore:
    from serve.access.json_file import JsonFileStore

    return JsonFileStore.at(rest)


def _secrets_manager(rest: str) -> KeyStore:
    from serve.access.secrets_manager import SecretsManagerStore

    return SecretsManagerStore.at(rest)


STORES: dict[str, Callable[[str], KeyStore]] = {
    "sqlite": _sqlite,
    "file": _file,
    "secretsmanager": _secrets_manager,
}
"""The scheme of a URI → what makes the store, of what is behind the colon."""


def open_store(uri: str) -> KeyStore:
    """The store at a URI. Nothing is read yet.

    Raises:
        BadStoreAddress: no store has this scheme, or what is behind it is not an address of it.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in STORES:
        raise BadStoreAddress(f"keys {uri!r}: expected one of {', '.join(f'{known}:…' for known in STORES)}")
    return STORES[scheme](rest)


def missing(where: str) -> KeyStoreUnreadable:
    """The error for a store that nothing has been added to."""
    return KeyStoreUnreadable(f"{where}: there are no keys yet: make one with `python -m serve keys create NAME`")
