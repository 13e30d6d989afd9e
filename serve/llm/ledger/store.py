"""Where the ledger is kept. A store is a file with a class that keeps to :class:`UsageStore`, and a line in STORES.

Importing this module loads none of them.

Errors::

    UserError
    └── LedgerError
        ├── BadLedgerAddress    the URL is not one of a ledger
        ├── LedgerUnsupported   its store needs a package, or code, that is not here
        ├── LedgerUnreadable    it is not there, can't be reached, or is something else
        └── LedgerUnwritable    it can be read, and a change does not get into it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from console import UserError
from serve.llm.ledger.entries import Entry

SECONDS_A_DAY = 86_400

NOT_YET = "there is no ledger yet: a running ingress makes it"

By = Literal["key", "model", "backend", "prompt", "day"]

Spending = Mapping[tuple[str, str, int], float]
"""Key, model and day → dollars. A day is a number: whole days since 1970, in UTC."""


class LedgerError(UserError):
    """The ledger can't be read or written."""


class BadLedgerAddress(LedgerError):
    """The URL is not one of a ledger."""


class LedgerUnsupported(LedgerError):
    """The store behind the URL needs a package, or code, that is not here."""


class LedgerUnreadable(LedgerError):
    """The ledger is not there, can't be reached, or is something else."""


class LedgerUnwritable(LedgerError):
    """The ledger can be read, and a change does not get into it."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The uses of a span of time. ``dollars`` is of those whose price is known, ``unknown`` counts the others."""

    begins: datetime
    name: str
    requests: int
    input: int
    cached: int
    output: int
    dollars: float
    unknown: int


class UsageStore(Protocol):
    """Entries, only ever added, by several processes at once. Each method blocks, and may be called in any thread.

    Raises (each method):
        LedgerError: one of the above.
    """

    @property
    def journals(self) -> Path:
        """The folder for the journals of the processes on this machine that write to it."""
        ...

    def prepare(self) -> None:
        """Make it where it is not there; see that it is a ledger that this program can write."""
        ...

    def write(self, entries: Sequence[Entry], ended: str | None = None) -> None:
        """Add what is not there yet. ``ended``: a process that holds no reservations any more."""
        ...

    def exchange(self, process: str, entries: Sequence[Entry], held: Spending, first_day: int) -> Spending:
        """Add entries, tell what this process has reserved, and give what is spent since a day and reserved by others.

        All of it at one moment.
        """
        ...

    def sums(self, by: By, since: datetime | None, until: datetime, span_seconds: int) -> list[Sums]:
        """By span and name, both ascending."""
        ...

    def close(self) -> None: ...


def _sqlite(rest: str, journals: Path | None, password: str | None) -> UsageStore:
    from serve.llm.ledger.sqlite import SqliteLedger

    if password is not None:
        raise BadLedgerAddress("usage.password: a ledger in SQLite has none: leave it out")
    return SqliteLedger.at(rest, journals)


def _postgresql(rest: str, journals: Path | None, password: str | None) -> UsageStore:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise LedgerUnsupported(
            "ledger 'postgresql:…': psycopg is not installed: install ml-training-deployment[postgresql]"
        ) from error
    from serve.llm.ledger.postgresql import PostgresqlLedger

    return PostgresqlLedger.at(rest, journals, password)


STORES: dict[str, Callable[[str, Path | None, str | None], UsageStore]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}
"""The scheme of a URL → what makes the store, of what is behind the colon and of the two others of ``open_store``."""


def open_store(url: str, journals: Path | None = None, password: str | None = None) -> UsageStore:
    """The store at a URL. Nothing is read or made yet.

    ``journals``: the folder for them; ``None``: the store's own. ``password``: where it is read from.

    Raises:
        BadLedgerAddress: no store has this scheme, or what is behind it, or ``password``, is not an address of it.
        LedgerUnsupported: see there.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in STORES:
        raise BadLedgerAddress(f"ledger {scheme!r}…: expected one of {', '.join(f'{known}:…' for known in STORES)}")
    return STORES[scheme](rest, journals, password)
