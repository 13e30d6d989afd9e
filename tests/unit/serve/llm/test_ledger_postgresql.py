"""What is PostgreSQL's alone: passwords, lost connections, several machines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws

from serve.aws_secret import Secret
from serve.gateway.errors import BudgetReached
from serve.llm.ledger import postgresql as module
from serve.llm.ledger import sql
from serve.llm.ledger.entries import Began, Entry, entry_of
from serve.llm.ledger.journal import Journal, Taken, take_over
from serve.llm.ledger.postgresql import PostgresqlLedger
from serve.llm.ledger.store import (
    LedgerError,
    LedgerUnreadable,
    LedgerUnwritable,
    open_store,
)
from serve.llm.settings import Budget
from tests.ledgers import Place, PostgresqlPlace
from tests.postgresql import Server
from tests.unit.serve.llm.uses import LATER, NOON, ledger, use

REGION = "eu-west-1"


@pytest.fixture
def there(tmp_path: Path, postgresql_server: Server) -> PostgresqlPlace:
    return PostgresqlPlace(tmp_path, postgresql_server)


@pytest.fixture
def store(there: PostgresqlPlace) -> Iterator[PostgresqlLedger]:
    with contextlib.closing(PostgresqlLedger.at(there.url.partition(":")[2], there.machine)) as found:
        yield found


def entry(name: str = "p-1") -> Entry:
    return entry_of(Began(name, NOON, "reports", "assistant", 1.0, ""), use())


def counted(place: Place) -> tuple[int, float]:
    """The requests and dollars of a ledger; its budgets have the same."""
    ((requests, dollars),) = place.query("SELECT COUNT(*), SUM(dollars) FROM uses")
    assert place.query("SELECT SUM(dollars) FROM spent") == [(dollars,)]
    return requests, dollars


def cut_off(place: Place) -> None:
    """End each connection to the ledger, as a restart of the server does."""
    place.query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_connection_that_was_lost_is_made_once_more_and_nobody_is_told(
    there: PostgresqlPlace, store: PostgresqlLedger
) -> None:
    store.write([entry("p-1")])
    cut_off(there)
    store.write([entry("p-2")])
    cut_off(there)
    assert store.exchange("p", [entry("p-3")], {}, 0) == {("reports", "assistant", 20_526): 0.75}
    cut_off(there)
    assert [each.requests for each in store.sums("model", None, LATER, 86_400)] == [3]
    assert counted(there) == (3, 0.75)


def test_what_was_written_though_its_answer_was_lost_counts_once(
    there: PostgresqlPlace, store: PostgresqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.prepare()
    real = sql.write

    def lost(*given: Any) -> None:
        monkeypatch.setattr(sql, "write", real)
        # It stands for the change itself, which others see now.
        there.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
        with contextlib.closing(there.store()) as other:
            other.write([entry()])
        real(*given)

    monkeypatch.setattr(sql, "write", lost)
    store.write([entry()])
    assert sql.write is real
    assert counted(there) == (1, 0.25)


def test_a_server_that_is_not_the_one_to_write_to_any_more_is_asked_for_anew(
    there: PostgresqlPlace, store: PostgresqlLedger
) -> None:
    store.prepare()
    assert store._connection is not None
    store._connection.execute("SET default_transaction_read_only = on")
    store.write([entry()])
    assert counted(there) == (1, 0.25)


def test_a_machine_that_is_lost_in_the_middle_of_a_change_does_not_keep_others_from_writing(
    there: PostgresqlPlace, store: PostgresqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 20)
    store.prepare()
    lost, others_wrote = threading.Event(), threading.Event()

    def hangs(writer: sql.Transaction) -> None:
        writer.run("INSERT INTO spent VALUES (0, 'k', 'm', 1)")
        lost.set()
        others_wrote.wait(30)

    monkeypatch.setattr(module, "WRITE_SECONDS", 2)
    with contextlib.closing(there.store()) as other, ThreadPoolExecutor(1) as threads:
        assert isinstance(other, PostgresqlLedger)
        change = threads.submit(other._change, hangs)
        assert lost.wait(30)
        monkeypatch.undo()
        store.write([entry()])
        others_wrote.set()
        with pytest.raises(LedgerUnwritable):
            change.result()
    assert counted(there) == (1, 0.25)


def test_a_statement_is_given_up_after_its_time(store: PostgresqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tables take their time, and only a new connection has another limit.
    store.prepare()
    store.close()
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.5)
    with pytest.raises(LedgerUnwritable, match="statement timeout"):
        store._change(lambda writer: writer.run("SELECT pg_sleep(60)"))


def test_a_server_that_says_nothing_is_given_up_after_its_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(LedgerUnreadable, match=f"127.0.0.1:{port}/d: can't be read .*timeout"):
            open_store(f"postgresql://u@127.0.0.1:{port}/d?connect_timeout=2").sums("model", None, LATER, 86_400)


def test_what_an_address_says_of_the_encoding_does_not_keep_a_text_from_being_itself(
    there: PostgresqlPlace, tmp_path: Path
) -> None:
    with contextlib.closing(open_store(f"{there.url}&client_encoding=latin1", tmp_path)) as store:
        store.write([entry_of(Began("p-1", NOON, "Łódź", "assistant", 1.0, ""), use())])
    assert there.query("SELECT key FROM uses") == [("Łódź",)]


def test_a_machine_takes_over_its_own_journals_alone(there: PostgresqlPlace, tmp_path: Path) -> None:
    machines = [open_store(there.url, tmp_path / name) for name in ("one", "two")]
    for number, machine in enumerate(machines):
        machine.prepare()
        journal = Journal(machine.journals, f"p{number}", lambda problem: None)
        journal.open()
        journal.ended(entry(f"p{number}-1"))
        # As a kill would.
        assert journal._file is not None
        os.close(journal._file)
        journal._file = None
    assert take_over(machines[0]) == Taken(uses=1)
    assert counted(there) == (1, 0.25)
    assert len(list(machines[1].journals.iterdir())) == 1
    assert take_over(machines[1]) == Taken(uses=1)
    assert counted(there) == (2, 0.5)
    for machine in machines:
        machine.close()


def test_what_a_machine_that_is_lost_had_reserved_counts_for_a_minute_by_the_database_s_clock(
    there: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine whose clock is wrong by a day keeps to it too.
    monkeypatch.setattr("time.time", lambda: NOON.timestamp())

    async def check() -> None:
        budget = [Budget(dollars_per_day=1.0)]
        lost, other = ledger(there, budget), ledger(there, budget)
        await lost.start()
        lost.reserve("reports", "assistant", 0.75)
        await lost.flush()
        await other.start()
        for seconds, left in ((sql.HELD_SECONDS - 20, r"\$0\.25 is left"), (40, None)):
            there.query(f"UPDATE held SET at = at - {seconds * 1_000_000}")
            await other.flush()
            if left:
                with pytest.raises(BudgetReached, match=left):
                    other.reserve("reports", "assistant", 0.5)
        other.reserve("reports", "assistant", 0.5)
        # It was not lost, but could not reach the database for so long.
        await lost.flush()
        await other.flush()
        with pytest.raises(BudgetReached, match=r"\$0 is left"):
            other.reserve("reports", "assistant", 0.01)
        for each in (lost, other):
            await each.close()

    asyncio.run(check())


def test_a_database_of_something_else_stays_as_it_is(there: PostgresqlPlace, store: PostgresqlLedger) -> None:
    there.query("CREATE TABLE spent (what TEXT)")
    for ask in (store.prepare, lambda: store.write([entry()])):
        with pytest.raises(LedgerUnreadable, match="has tables of something else"):
            ask()
    assert there.query("SELECT relname FROM pg_class WHERE relname IN ('uses', 'held', 'ledger_version')") == []


def test_a_ledger_of_a_later_version_is_left_alone(there: PostgresqlPlace, store: PostgresqlLedger) -> None:
    store.write([entry()])
    there.query("UPDATE ledger_version SET version = 3")
    for ask in (lambda: store.sums("model", None, LATER, 86_400), there.store().prepare):
        with pytest.raises(LedgerUnreadable, match="of version 3, and this program knows 2"):
            ask()


def test_ledgers_of_one_database_are_apart_in_its_schemas(
    there: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    stores = []
    for schema, entries in (("one", [entry()]), ("two", [entry("p-1"), entry("p-2")])):
        there.query(f"CREATE SCHEMA {schema}")
        stores.append(open_store(f"{there.url}&options=-csearch_path%3D{schema}"))
        stores[-1].write(entries)
    assert [store.sums("model", None, LATER, 86_400)[0].requests for store in stores] == [1, 2]
    # What is left in a journal of one is not brought to the other.
    assert {store.journals.parent for store in stores} == {tmp_path / "build" / "usage-journals"}
    assert len({store.journals for store in stores}) == 2
    for store in stores:
        store.close()


def test_texts_that_a_database_can_not_hold_are_told_at_the_start(tmp_path: Path, postgresql_server: Server) -> None:
    name = postgresql_server.create("TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(LedgerUnreadable, match="its texts are in LATIN1: name a database in UTF8"):
        open_store(postgresql_server.url(name)).prepare()


def role(there: PostgresqlPlace, password: str, options: str = "SUPERUSER") -> str:
    """One that the server asks for a password."""
    name = f"role_{uuid.uuid4().hex}"
    there.query(f"CREATE ROLE {name} LOGIN {options} PASSWORD '{password}'")
    return name


def test_who_may_only_read_reads(there: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = role(there, "hunter2", "")
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    store = open_store(there.url.replace("postgres@", f"{reader}@"), there.machine)
    with pytest.raises(LedgerUnreadable, match="there is no ledger yet"):
        store.sums("model", None, LATER, 86_400)
    with contextlib.closing(there.store()) as other:
        other.write([entry()])
    there.query(f"GRANT SELECT ON uses, ledger_version TO {reader}")
    assert [each.requests for each in store.sums("model", None, LATER, 86_400)] == [1]
    with pytest.raises(LedgerUnwritable, match="permission denied for table uses"):
        store.write([entry("p-2")])
    monkeypatch.setenv("PGPASSWORD", "hunter3")
    with pytest.raises(LedgerUnreadable, match=f'password authentication failed for user "{reader}"') as caught:
        store.sums("model", None, LATER, 86_400)
    assert "hunter" not in str(caught.value)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name=REGION)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read of a secret, one after another."""
    found: list[str] = []
    real: Callable[[Secret], tuple[str, str]] = Secret.text

    def text(self: Secret) -> tuple[str, str]:
        version, text = real(self)
        found.append(text)
        return version, text

    monkeypatch.setattr(Secret, "text", text)
    return found


def of_secret(there: PostgresqlPlace, name: str = "database") -> PostgresqlLedger:
    url = there.url.replace("postgres@", "postgres-without-a-secret@")
    return PostgresqlLedger.at(url.partition(":")[2], there.machine, f"secretsmanager:{name}?region={REGION}")


def test_a_password_that_was_rotated_is_read_anew_when_it_is_refused(
    there: PostgresqlPlace, secrets: Any, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REREAD_SECONDS", 0)
    first, second = role(there, "before"), role(there, "other")

    def document(user: str, password: str) -> str:
        return json.dumps({"engine": "postgres", "host": "h", "username": user, "password": password})

    secrets.create_secret(Name="database", SecretString=document(first, "before"))
    with contextlib.closing(of_secret(there)) as store:
        store.write([entry("p-1")])
        # Who is connected stays so, and the secret is not asked for again.
        there.query(f"ALTER ROLE {first} PASSWORD 'after'")
        store.write([entry("p-2")])
        cut_off(there)
        assert len(readings) == 1
        # The server has the new one before the secret has it.
        with pytest.raises(LedgerUnwritable, match="password authentication failed") as caught:
            store.write([entry("p-3")])
        secrets.put_secret_value(SecretId="database", SecretString=document(first, "after"))
        store.write([entry("p-3")])
        cut_off(there)
        # A rotation that takes turns between two users.
        there.query(f"ALTER ROLE {first} NOLOGIN PASSWORD NULL")
        secrets.put_secret_value(SecretId="database", SecretString=document(second, "other"))
        store.write([entry("p-4")])
    assert counted(there) == (4, 1.0)
    assert "before" not in str(caught.value)


def test_a_password_that_was_rotated_is_read_anew_though_the_last_of_several_hosts_is_away(
    there: PostgresqlPlace, secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REREAD_SECONDS", 0)
    user = role(there, "before")
    secrets.create_secret(Name="database", SecretString="before")
    hosts, _, database = there.url.replace("postgres@", f"{user}@").rpartition("/")
    url = f"{hosts},127.0.0.1:1/{database}"
    with contextlib.closing(open_store(url, there.machine, f"secretsmanager:database?region={REGION}")) as store:
        store.write([entry("p-1")])
        there.query(f"ALTER ROLE {user} PASSWORD 'after'")
        secrets.put_secret_value(SecretId="database", SecretString="after")
        cut_off(there)
        store.write([entry("p-2")])
    assert counted(there) == (2, 0.5)


def test_a_secret_is_not_asked_for_again_and_again_while_the_password_is_refused(
    there: PostgresqlPlace, secrets: Any, readings: list[str]
) -> None:
    secrets.create_secret(Name="database", SecretString=json.dumps({"username": role(there, "x"), "password": "y"}))
    store = of_secret(there)
    for _ in range(3):
        with pytest.raises(LedgerUnwritable, match="password authentication failed"):
            store.prepare()
    assert len(readings) == 1


def test_a_secret_may_be_the_password_alone(there: PostgresqlPlace, secrets: Any) -> None:
    there.query("CREATE ROLE \"postgres-without-a-secret\" LOGIN SUPERUSER PASSWORD '4711'")
    secrets.create_secret(Name="database", SecretString="4711")
    with contextlib.closing(of_secret(there)) as store:
        store.write([entry()])
    assert counted(there) == (1, 0.25)


def test_a_secret_that_gives_no_password_is_said_to(there: PostgresqlPlace, secrets: Any) -> None:
    secrets.create_secret(Name="document", SecretString='{"username": "u", "passwort": "hunter2"}')
    secrets.create_secret(Name="binary", SecretBinary=b"hunter2")
    for name, part in (
        ("document", 'secretsmanager:document: its document has no "password"'),
        ("binary", "secretsmanager:binary: holds binary data"),
        ("nowhere", "secretsmanager:nowhere: is not there"),
    ):
        with pytest.raises(LedgerError, match=part) as caught:
            of_secret(there, name).prepare()
        assert "hunter2" not in str(caught.value)
