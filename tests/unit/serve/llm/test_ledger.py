"""The ledger: what has ended is in the store once, whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from serve.access.keys import issue
from serve.access.stores import open_store as open_keys
from serve.llm.backend import Tokens
from serve.llm.ledger import ledger as module
from serve.llm.ledger import sql
from serve.llm.ledger.entries import Began, entry_of
from serve.llm.ledger.journal import Taken
from serve.llm.ledger.ledger import NoLedger, UsageLedger, open_ledger
from serve.llm.ledger.sqlite import SqliteLedger
from serve.llm.ledger.store import (
    BadLedgerAddress,
    By,
    LedgerUnreadable,
    LedgerUnwritable,
    Sums,
    open_store,
)
from serve.llm.settings import UsageSettings
from serve.settings import read_settings
from tests.ledgers import Place, SqlitePlace
from tests.unit.serve.llm.uses import LATER, NOON, Clock, ledger, use


def read(place: Place, columns: str = "request_id") -> list[tuple[object, ...]]:
    return place.query(f"SELECT {columns} FROM uses ORDER BY id")


def all_sums(place: Place, by: By = "model") -> list[Sums]:
    with contextlib.closing(place.store()) as store:
        return store.sums(by, None, LATER, 86_400)


def sums(place: Place) -> Sums:
    (found,) = all_sums(place)
    return found


def test_a_use_is_kept_with_all_that_is_known_of_it(place: Place) -> None:
    async def check() -> None:
        kept = ledger(place, clock=Clock(NOON))
        await kept.start()
        kept.reserve("reports", "assistant", 1.0).settle(use(at=NOON + timedelta(seconds=3)))
        kept.reserve("reports", "assistant", 1.0).settle(use(request_id="s", dollars=None, first_token_seconds=None))
        await kept.close()

    asyncio.run(check())
    columns = (
        "request_id, at, key, model, backend, operation, input_tokens, output_tokens, cached_tokens, "
        "first_token_seconds, seconds, dollars, ended"
    )
    shared = (int(NOON.timestamp() * 1e6), "reports", "assistant", "own", "chat", 100, 20, 10)
    assert read(place, columns) == [
        ("r", *shared, 0.1, 0.5, 0.25, "done"),
        ("s", *shared, None, 0.5, None, "done"),
    ]
    assert list(place.machine.iterdir()) == []
    assert (sums(place).dollars, sums(place).unknown) == (0.25, 1)


def test_what_is_settled_or_written_twice_counts_once_and_a_client_s_own_id_hides_nothing(place: Place) -> None:
    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        for _ in range(3):
            reservation = kept.reserve("reports", "assistant", 1.0)
            reservation.settle(use(request_id="always the same"))
            reservation.settle(use(request_id="always the same"))
        await kept.close()

    asyncio.run(check())
    assert (sums(place).requests, sums(place).dollars) == (3, 0.75)
    entry = entry_of(Began("p-1", NOON, "reports", "assistant", 1.0, ""), use())
    with contextlib.closing(place.store()) as store:
        store.write([entry, entry])
        store.write([entry])
        assert (sums(place).requests, sums(place).dollars) == (4, 1.0)
        assert sum(store.exchange("p", [entry], {}, 0).values()) == 1.0


@pytest.mark.parametrize("statement", ["UPDATE uses SET dollars = 0", "DELETE FROM uses"])
def test_nobody_changes_what_is_in_it(place: Place, statement: str) -> None:
    with contextlib.closing(place.store()) as store:
        store.write([entry_of(Began("p-1", NOON, "reports", "assistant", 1.0, ""), use())])
    with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match="only ever"):
        place.query(statement)
    assert len(read(place)) == 1


def test_what_no_database_takes_does_not_stop_the_rest(place: Place) -> None:
    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        for text in ("\ud800", "\0"):
            kept.reserve(text, text, 1.0, text, text, text).settle(use(request_id=text, backend=text, ended=text))
        for tokens in (Tokens(2**80, 2**80, 2**80), Tokens(-5, -5, -5)):
            kept.reserve("k", "m", 1.0).settle(use(tokens=tokens))
        for dollars in (math.inf, math.nan, -1.0):
            kept.reserve("k", "m", 1.0).settle(use(dollars=dollars))
        await kept.close()

    asyncio.run(check())
    assert [(each.name, each.requests, each.unknown) for each in all_sums(place)] == [("?", 2, 0), ("m", 5, 3)]


BEFORE_PROMPTS = (
    """CREATE TABLE uses (
        id TEXT PRIMARY KEY, request_id TEXT NOT NULL, at BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        backend TEXT NOT NULL, operation TEXT NOT NULL,
        input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
        first_token_seconds DOUBLE PRECISION, seconds DOUBLE PRECISION NOT NULL, dollars DOUBLE PRECISION,
        ended TEXT NOT NULL)""",
    "CREATE INDEX uses_at ON uses (at)",
    "CREATE INDEX uses_request_id ON uses (request_id)",
    """CREATE TABLE spent (
        day BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, dollars DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (day, key, model))""",
    """CREATE TABLE held (
        process TEXT NOT NULL, day BIGINT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        dollars DOUBLE PRECISION NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (process, day, key, model))""",
    """CREATE TRIGGER uses_stay_as_they_are BEFORE UPDATE ON uses
        BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
    """CREATE TRIGGER uses_stay BEFORE DELETE ON uses BEGIN SELECT RAISE(ABORT, 'uses are only ever added'); END""",
    """INSERT INTO uses VALUES
        ('p-1', 'r', 1773489600000000, 'k', 'm', 'own', 'chat', 100, 20, 10, 0.1, 0.5, 0.25, 'done')""",
    "INSERT INTO spent VALUES (20526, 'k', 'm', 0.25)",
    "PRAGMA user_version = 1",
)
"""A ledger as it was made before requests had prompts, with a use."""


def test_a_ledger_of_the_version_before_is_read_and_goes_on(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "usage.db") as database:
        for statement in BEFORE_PROMPTS:
            database.execute(statement)
    journals = tmp_path / "usage.db.journals"
    journals.mkdir()
    line = (
        '{"id":"p-2","use":{"request_id":"s","at":"2026-03-14T12:00:00Z","key":"k","model":"m","backend":"own",'
        '"operation":"chat","tokens":{"input":1,"output":1,"cached":0},"first_token_seconds":0.1,"seconds":0.5,'
        '"dollars":0.5,"ended":"done"}}'
    )
    (journals / "p.1.jsonl").write_text(f"E{line}\n")

    async def check() -> None:
        kept = ledger(SqlitePlace(tmp_path))
        assert await kept.start() == Taken(uses=1)
        kept.reserve("k", "m", 1.0, "t", "greeting", "3").settle(use(request_id="t"))
        await kept.close()

    asyncio.run(check())
    assert sorted(read(SqlitePlace(tmp_path), "request_id, prompt, prompt_version")) == [
        ("r", "", ""),
        ("s", "", ""),
        ("t", "greeting", "3"),
    ]
    by_prompt = all_sums(SqlitePlace(tmp_path), "prompt")
    assert [(each.name, each.requests, each.dollars) for each in by_prompt] == [("", 2, 0.75), ("greeting/3", 1, 0.25)]
    with sqlite3.connect(tmp_path / "usage.db") as database:
        assert database.execute("SELECT dollars FROM spent").fetchall() == [(1.0,)]


def test_several_that_start_at_once_make_one_ledger(place: Place) -> None:
    stores = [place.store() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda store: store.prepare(), stores))
        # As many budgets are told of at once, in another order each, and nobody waits for somebody who waits.
        entries = [
            entry_of(Began(f"p-{number}", NOON, f"k{number % 7}", "m", 1.0, ""), use(key=f"k{number % 7}"))
            for number in range(70)
        ]
        list(threads.map(lambda number: stores[number].write(entries[number:] + entries[:number]), range(8)))
    assert [(each.name, each.requests, each.dollars) for each in all_sums(place, "key")] == [
        (f"k{number}", 10, 2.5) for number in range(7)
    ]
    assert {dollars for (dollars,) in place.query("SELECT dollars FROM spent")} == {2.5}
    for store in stores:
        store.close()


def test_several_processes_may_open_a_ledger_of_the_version_before_at_once(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "usage.db") as database:
        for statement in BEFORE_PROMPTS:
            database.execute(statement)
    stores = [SqliteLedger(tmp_path / "usage.db") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(SqliteLedger.prepare, stores))
    assert [sums(SqlitePlace(tmp_path)).requests] == [1]
    for store in stores:
        store.close()


def held_up(place: Place, settle: Callable[[UsageLedger], None]) -> list[str]:
    """Settle while another process holds the database, and let it go."""
    problems: list[str] = []

    async def check() -> None:
        kept = ledger(place, on_problem=problems.append)
        await kept.start()
        with place.held_up():
            settle(kept)
            for _ in range(2):
                with pytest.raises(LedgerUnwritable, match=r"locked|lock timeout"):
                    await kept.flush()
            settle(kept)
        await kept.flush()
        await kept.close()

    asyncio.run(check())
    return problems


@pytest.mark.usefixtures("impatient")
def test_while_the_store_is_held_up_nothing_is_lost_or_counted_twice(place: Place) -> None:
    def settle(kept: UsageLedger) -> None:
        for _ in range(10):
            kept.reserve("reports", "assistant", 1.0).settle(use())

    held_up(place, settle)
    assert (sums(place).requests, sums(place).dollars) == (20, 5.0)


@pytest.mark.usefixtures("impatient")
def test_what_is_too_much_for_memory_is_read_from_the_journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 3)
    kept_in_memory: list[int] = []

    def settle(kept: UsageLedger) -> None:
        for _ in range(10):
            kept.reserve("reports", "assistant", 1.0).settle(use())
        kept_in_memory.append(len(kept._pending))

    held_up(place, settle)
    assert kept_in_memory == [3, 3]
    assert (sums(place).requests, sums(place).dollars) == (20, 5.0)


def test_it_flushes_by_itself_and_renews_a_large_journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BYTES", 1000)

    async def check() -> None:
        kept = UsageLedger(place.store(), flush_seconds=0.01)
        await kept.start()
        for _ in range(20):
            kept.reserve("reports", "assistant", 1.0).settle(use())
        while kept._pending or kept._journal.size > 1000:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        assert sums(place).requests == 20
        (journal,) = place.machine.iterdir()
        assert ".2." in journal.name
        await kept.close()

    asyncio.run(check())


def test_a_database_that_is_taken_away_is_made_anew(place: Place) -> None:
    async def check() -> None:
        kept = ledger(place)
        await kept.start()
        place.take_away()
        kept.reserve("reports", "assistant", 1.0).settle(use())
        await kept.close()

    asyncio.run(check())
    assert sums(place).requests == 1


def test_a_start_says_what_is_wrong_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and long enough to be looked at as one" * 20)
    key, _ = issue("reports", models=("*",), created=NOON, expires=None, admin=False, limits=None)
    open_keys(f"sqlite:///{tmp_path}/keys.db").add(key)
    with sqlite3.connect(tmp_path / "newer.db") as database:
        database.execute("PRAGMA user_version = 3")
    for url, kind, part in (
        (f"sqlite:///{tmp_path}/file", LedgerUnwritable, "file is not a database"),
        (f"sqlite:///{tmp_path}/file/usage.db", LedgerUnwritable, "can't be made"),
        (f"sqlite:///{tmp_path}/keys.db", LedgerUnreadable, "database of something else"),
        (f"sqlite:///{tmp_path}/newer.db", LedgerUnreadable, "of version 3, and this program knows 2"),
    ):
        kept = open_ledger(UsageSettings(ledger=url))
        with pytest.raises(kind, match=part):
            asyncio.run(kept.start())
    assert len(open_keys(f"sqlite:///{tmp_path}/keys.db").read()) == 1
    with sqlite3.connect(tmp_path / "keys.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_of_a_password_that_stands_where_its_place_should_nothing_is_shown(tmp_path: Path) -> None:
    for number, (given, part) in enumerate(
        (
            ("password: hunter2", "usage.password: a ledger in SQLite has none"),
            ("{ledger: 'postgresql://u@h/d', password: hunter2}", "usage.password: expected where the password is"),
            ("{ledger: 'postgresql://u@h/d', password: 4711}", "usage.password: expected where the password is"),
            ("{ledger: 'postgresql://u@h/d', password: 'secretsmanager:?hunter2'}", "expected secretsmanager:NAME"),
        )
    ):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"models:\n  parcels: {{}}\nusage:\n  {given}\n".replace("\n  {", " {"))
        with pytest.raises(BadLedgerAddress, match=part) as caught:
            open_ledger(read_settings(file).usage)
        assert "hunter2" not in str(caught.value)
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind", "part"),
    [
        ("usage.db", BadLedgerAddress, "expected one of sqlite:…, postgresql:…"),
        ("mysql://u:secret@h/d", BadLedgerAddress, "'mysql'"),
        ("sqlite:usage.db", BadLedgerAddress, "expected sqlite:///PATH"),
        ("sqlite:///", BadLedgerAddress, "expected sqlite:///PATH"),
    ],
)
def test_a_url_that_is_no_ledger_is_one_line_without_its_password(url: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind) as caught:
        open_store(url)
    assert part in str(caught.value)
    assert "secret" not in str(caught.value)


def test_reservations_are_told_anew_before_others_forget_them() -> None:
    longest = next(each.le for each in UsageSettings.model_fields["flush_seconds"].metadata if hasattr(each, "le"))
    assert longest < sql.HELD_SECONDS / 2


def test_without_a_ledger_nothing_is_kept_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def check() -> None:
        kept = open_ledger(UsageSettings(ledger=None))
        assert isinstance(kept, NoLedger)
        await kept.start()
        kept.reserve("reports", "assistant", math.inf).settle(use())
        await kept.close()

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []
