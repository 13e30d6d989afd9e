"""What the ledgers in databases have in common: their tables, and what is done in a transaction of one.

The statements are standard SQL, and of ``INSERT`` what SQLite and PostgreSQL both know; ``?`` stands for a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from serve.llm.ledger.entries import Entry
from serve.llm.ledger.store import SECONDS_A_DAY, By, LedgerUnreadable, Spending, Sums

HELD_SECONDS = 60
"""How long a process's reservations count without being told again: it, or its machine, may be gone."""

MICROSECONDS = 1_000_000
VERSION = 2

TABLES = (
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
)

RENEWALS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE uses ADD COLUMN prompt TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE uses ADD COLUMN prompt_version TEXT NOT NULL DEFAULT ''",
    ),
}
"""What makes a ledger of an earlier version one of the next."""

ADD_USE = f"INSERT INTO uses VALUES ({', '.join('?' * 16)}) ON CONFLICT (id) DO NOTHING RETURNING id"  # noqa: S608
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
    FROM uses WHERE at >= ? AND at < ? GROUP BY 1, 2"""

NAMES: dict[By, str] = {
    "key": "key",
    "model": "model",
    "backend": "backend",
    "prompt": "CASE prompt WHEN '' THEN '' ELSE prompt || '/' || prompt_version END",
    "day": "''",
}


class Transaction(Protocol):
    """Where it writes, it is the only one that does, from its start."""

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows that it gives."""
        ...

    def run_each(self, statement: str, rows: Sequence[Sequence[object]]) -> list[tuple[Any, ...]]:
        """The rows that it gives with each of these."""
        ...

    def now(self) -> int:
        """Microseconds since 1970, by a clock that all who write to the ledger have in common."""
        ...


def made_or_renewed(found: int, guards: Sequence[str], where: str) -> tuple[str, ...]:
    """What makes a ledger of this version of one that is ``found``; 0: of nothing, and with ``guards``.

    Raises:
        LedgerUnreadable: it is of a version that is not known yet.
    """
    if found > VERSION:
        raise LedgerUnreadable(f"{where}: is a ledger of version {found}, and this program knows {VERSION}")
    if found == 0:
        return (*TABLES, *guards)
    # Others that write to it as it was keep their uses in their journals from now on: none is lost.
    return tuple(statement for earlier in range(found, VERSION) for statement in RENEWALS[earlier])


def write(writer: Transaction, entries: Sequence[Entry], ended: str | None) -> None:
    """See :meth:`serve.llm.ledger.store.UsageStore.write`."""
    _add(writer, entries)
    if ended is not None:
        writer.run(FORGET_HELD, (ended, 0))


def exchange(writer: Transaction, process: str, entries: Sequence[Entry], held: Spending, first_day: int) -> Spending:
    """See :meth:`serve.llm.ledger.store.UsageStore.exchange`."""
    _add(writer, entries)
    now = writer.now()
    writer.run(FORGET_HELD, (process, now - HELD_SECONDS * MICROSECONDS))
    writer.run_each(ADD_HELD, [(process, day, key, model, dollars, now) for (key, model, day), dollars in held.items()])
    found = writer.run(SPENT, (first_day, process, first_day))
    return {(key, model, day): dollars for key, model, day, dollars in found}


def sums(reader: Transaction, by: By, since: datetime | None, until: datetime, span_seconds: int) -> list[Sums]:
    """See :meth:`serve.llm.ledger.store.UsageStore.sums`."""
    first = 0 if since is None else microseconds(since.timestamp())
    span = span_seconds * MICROSECONDS
    rows = reader.run(SUMS.format(name=NAMES[by]), (span, first, microseconds(until.timestamp())))
    found = [
        Sums(
            datetime.fromtimestamp(number * span_seconds, UTC),
            name,
            requests,
            # PostgreSQL adds integers up to a decimal.
            int(given),
            int(cached),
            int(output),
            dollars or 0.0,
            unknown,
        )
        for number, name, requests, given, cached, output, dollars, unknown in rows
    ]
    # Here, since each database has an order of its own for texts.
    return sorted(found, key=lambda each: (each.begins, each.name))


def microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _add(writer: Transaction, entries: Sequence[Entry]) -> None:
    new = {name for (name,) in writer.run_each(ADD_USE, [_row(entry) for entry in entries])}
    spent: dict[tuple[int, str, str], float] = defaultdict(float)
    for entry in entries:
        if entry.id in new and entry.use.dollars:
            # What is twice in a batch counts once too.
            new.remove(entry.id)
            day = microseconds(entry.use.at.timestamp()) // (SECONDS_A_DAY * MICROSECONDS)
            spent[day, entry.use.key, entry.use.model] += entry.use.dollars
    writer.run_each(ADD_SPENT, [(*place, dollars) for place, dollars in spent.items()])


def _row(entry: Entry) -> tuple[object, ...]:
    use = entry.use
    at = microseconds(use.at.timestamp())
    tokens = (use.tokens.input, use.tokens.output, use.tokens.cached)
    whose = (use.request_id, at, use.key, use.model, use.backend, use.operation)
    times = (use.first_token_seconds, use.seconds)
    return (entry.id, *whose, *tokens, *times, use.dollars, use.ended, use.prompt, use.prompt_version)
