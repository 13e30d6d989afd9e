"""Where published features are kept. A store is a file here, with a class that keeps to
:class:`spark_jobs.online.OnlineStore`, and a line in :data:`STORES`.

Importing this module loads none of them.
"""

from __future__ import annotations

from collections.abc import Callable

from spark_jobs.online import BadStoreAddress, OnlineStore


def _sqlite(rest: str) -> OnlineStore:
    from spark_jobs.stores.sqlite import SqliteStore

    return SqliteStore.at(rest)


def _dynamodb(rest: str) -> OnlineStore:
    from spark_jobs.stores.dynamodb import DynamoDbStore

    return DynamoDbStore.at(rest)


STORES: dict[str, Callable[[str], OnlineStore]] = {
    "sqlite": _sqlite,
    "dynamodb": _dynamodb,
}
"""The scheme of a URI → what makes the store, of what is behind the colon."""


def open_store(uri: str) -> OnlineStore:
    """The store at a URI. Nothing is read or written yet.

    Raises:
        BadStoreAddress: no store has this scheme, or what is behind it is not an address of it.
        AwsError: AWS's settings are not good for a client.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in STORES:
        raise BadStoreAddress(f"online store {uri!r}: expected one of {', '.join(f'{known}:…' for known in STORES)}")
    return STORES[scheme](rest)
