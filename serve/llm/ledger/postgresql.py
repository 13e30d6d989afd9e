"""The ledger in a PostgreSQL database, which processes of several machines write to: ``postgresql://…`` as libpq reads
it, with the tables in the schema that the address's ``search_path`` names first.

Each change is a transaction that waits for a lock of the database's, so that they come one after another as in a file
of SQLite, and is one that may be done twice: where its connection is lost, it is, with a new one. The database's own
clock says how long a reservation counts: those of several machines differ.

A password comes from where libpq finds one (``PGPASSWORD``, a passfile, a service), or from a secret of
:mod:`serve.aws_secret`: the password alone, or a document as RDS writes it, of which ``username`` goes before the
address's, since a rotation may change it too.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import pq

from console import one_line
from serve.aws_secret import Secret, SecretError
from serve.llm.ledger import sql
from serve.llm.ledger.entries import Entry
from serve.llm.ledger.store import (
    NOT_YET,
    BadLedgerAddress,
    By,
    LedgerUnreadable,
    LedgerUnwritable,
    Spending,
    Sums,
)

JOURNALS = Path("build/usage-journals")
"""The folder in which each ledger has one, where the settings name none."""

CONNECT_SECONDS = 5
LOCK_SECONDS = 5
"""How long a process waits for the writes of others."""

WRITE_SECONDS = 10
"""Of a statement, and how long the database waits for the next one of a change before it gives it up."""

READ_SECONDS = 120
REREAD_SECONDS = 10
"""Between two readings of a secret whose password the server refuses."""

DEFAULTS: Mapping[str, str | int] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "usage-ledger",
    # A server that is gone without a word is told within half a minute.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

LOCK = int.from_bytes(b"uses")
"""Of ``pg_advisory_xact_lock``: who has it is the only one that changes the ledger."""

VERSION_TABLE = "ledger_version"
TABLES = ("uses", "spent", "held")

GUARDS = (
    """CREATE FUNCTION uses_stay_as_they_are() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'uses are only ever added'; END $$""",
    """CREATE TRIGGER uses_stay_as_they_are BEFORE UPDATE OR DELETE OR TRUNCATE ON uses
        EXECUTE FUNCTION uses_stay_as_they_are()""",
    f"CREATE TABLE {VERSION_TABLE} (version BIGINT NOT NULL)",
    "INSERT INTO ledger_version VALUES (0)",
)

OTHERS_NOW = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.UndefinedTable)
"""What a connection is told that was good: its server is not the one to write to now, or the ledger was taken away."""

Result = TypeVar("Result")


class PostgresqlLedger:
    """Keeps to :class:`serve.llm.ledger.store.UsageStore`. ``address``: libpq's options, without a password."""

    def __init__(self, address: Mapping[str, str], journals: Path, secret: Secret | None) -> None:
        self._address = address
        self._where = _where(address)
        self._several_hosts = any("," in address.get(option, "") for option in ("host", "hostaddr"))
        self._journals = journals.absolute()
        self._password = None if secret is None else _Password(secret)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    @classmethod
    def at(cls, rest: str, journals: Path | None = None, password: str | None = None) -> PostgresqlLedger:
        """The store of a URL, of what is behind ``postgresql:``.

        Raises:
            BadLedgerAddress: libpq can't read it, there is a password in it, or ``password`` is not where one is.
        """
        address = _address(f"postgresql:{rest}")
        return cls(address, journals or JOURNALS / _folder(address), None if password is None else _secret(password))

    @property
    def journals(self) -> Path:
        return self._journals

    def prepare(self) -> None:
        self._change(lambda _: None)

    def write(self, entries: Sequence[Entry], ended: str | None = None) -> None:
        self._change(lambda writer: sql.write(writer, entries, ended))

    def exchange(self, process: str, entries: Sequence[Entry], held: Spending, first_day: int) -> Spending:
        return self._change(lambda writer: sql.exchange(writer, process, entries, held, first_day))

    def sums(self, by: By, since: datetime | None, until: datetime, span_seconds: int) -> list[Sums]:
        def read(connection: psycopg.Connection) -> list[Sums]:
            if not _version(connection):
                raise LedgerUnreadable(f"{self._where}: {NOT_YET}")
            self._renew(connection)
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = {READ_SECONDS * 1000}")
                return sql.sums(_Transaction(connection), by, since, until, span_seconds)

        return self._done(read, LedgerUnreadable, "read")

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _change(self, change: Callable[[sql.Transaction], Result]) -> Result:
        """``change`` is made at one moment, and may be called twice."""

        def write(connection: psycopg.Connection) -> Result:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                return change(_Transaction(connection))

        return self._done(write, LedgerUnwritable, "written")

    def _done(
        self,
        work: Callable[[psycopg.Connection], Result],
        kind: type[LedgerUnreadable | LedgerUnwritable],
        done: str,
    ) -> Result:
        with self._lock:
            while True:
                known = self._connection
                try:
                    if known is None:
                        self._connection = self._connect()
                        if kind is LedgerUnwritable:
                            self._renew(self._connection)
                    return work(self._connection)  # type: ignore[arg-type]
                except (psycopg.Error, SecretError) as error:
                    gone = known is not None and (known.closed or isinstance(error, OTHERS_NOW))
                    self._forget()
                    if not gone:
                        raise kind(
                            f"{self._where}: can't be {done} ({one_line(str(error))}): see that its server can be "
                            "reached, and that this user may log in and write there"
                        ) from error
                except BaseException:
                    self._forget()
                    raise

    def _forget(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _connect(self) -> psycopg.Connection:
        login = {} if self._password is None else self._password.login()
        try:
            connection = self._log_in(login)
        except psycopg.OperationalError as error:
            # By the connection and not by the message, which is in the server's language. Of several hosts it is the
            # last one's: another may have refused it.
            refused = self._several_hosts or (error.pgconn is not None and error.pgconn.used_password)
            if not refused or self._password is None or not self._password.changed():
                raise
            connection = self._log_in(self._password.login())
        try:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise LedgerUnreadable(f"{self._where}: its texts are in {encoding}: name a database in UTF8")
            # Not as options of the connection: what pools them takes none.
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false), "
                "set_config('idle_in_transaction_session_timeout', %s, false)",
                [str(round(seconds * 1000)) for seconds in (LOCK_SECONDS, WRITE_SECONDS, WRITE_SECONDS)],
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _log_in(self, login: Mapping[str, str]) -> psycopg.Connection:
        given: dict[str, Any] = {**DEFAULTS, **self._address, **login, "client_encoding": "utf8"}
        return psycopg.connect(**given, autocommit=True)

    def _renew(self, connection: psycopg.Connection) -> None:
        """Make the tables where they are not there, or what has changed in them since they were made."""
        if _version(connection) == sql.VERSION:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            found = _version(connection)
            if not found and _tables(connection):
                raise LedgerUnreadable(
                    f"{self._where}: has tables of something else: name another database, or another schema by "
                    "?options=-csearch_path%3DSCHEMA"
                )
            transaction = _Transaction(connection)
            for statement in sql.made_or_renewed(found, GUARDS, self._where):
                transaction.run(statement)
            transaction.run("UPDATE ledger_version SET version = ?", (sql.VERSION,))


class _Transaction:
    """Keeps to :class:`serve.llm.ledger.sql.Transaction`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(_marked(statement), values)
        return cursor.fetchall() if cursor.description else []

    def run_each(self, statement: str, rows: Sequence[Sequence[object]]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            # All of them at once, and not one for each way to the server and back.
            cursor.executemany(_marked(statement), rows, returning=True)
            return [row for each in cursor.results() if each.description for row in each]

    def now(self) -> int:
        ((now,),) = self.run("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
        return int(now)


class _Password:
    """Of a secret: read when it is first needed, and again when the server refuses it."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._known: dict[str, str] | None = None
        self._read = 0.0

    def login(self) -> Mapping[str, str]:
        """What it says of ``user`` and ``password``. Raises: SecretError."""
        if self._known is None:
            self._known = self._current()
        return self._known

    def changed(self) -> bool:
        """Whether it is another now; asked seldom, since AWS bills it. Raises: SecretError."""
        if time.monotonic() - self._read < REREAD_SECONDS:
            return False
        before = self._known
        self._known = self._current()
        return self._known != before

    def _current(self) -> dict[str, str]:
        self._read = time.monotonic()
        _, text = self._secret.text()
        try:
            document = json.loads(text)
        except ValueError:
            return {"password": text}
        if not isinstance(document, dict):
            return {"password": text}
        found = {option: document.get(name) for option, name in (("user", "username"), ("password", "password"))}
        if not isinstance(found["password"], str):
            raise SecretError(f'{self._secret.where}: its document has no "password"')
        return {option: value for option, value in found.items() if isinstance(value, str) and value}


def _secret(password: str) -> Secret:
    scheme, _, rest = password.partition(":")
    try:
        if scheme != "secretsmanager":
            raise ValueError("expected where the password is, secretsmanager:NAME, and not the password")
        return Secret.at(rest)
    except ValueError as error:
        # Not what was given: it may be a password.
        raise BadLedgerAddress(f"usage.password: {error}") from None


def _address(url: str) -> dict[str, str]:
    """libpq's options in a URL, whose text is in no message: it may have a password in it."""
    try:
        options = pq.Conninfo.parse(url.encode())
    except (psycopg.Error, UnicodeEncodeError):
        raise BadLedgerAddress(
            "ledger 'postgresql:…': libpq can't read it: expected postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full"
        ) from None
    found = {option.keyword.decode(): option.val.decode("utf-8", "replace") for option in options if option.val}
    # libpq says itself which of its options are not to be shown.
    if any(option.val and option.dispchar == b"*" for option in options):
        raise BadLedgerAddress(
            "ledger 'postgresql:…': there is a password in it: leave it out, and give it by usage.password, by "
            "PGPASSWORD or in ~/.pgpass"
        )
    # A password with a slash in it ends the host before its time.
    if "@" in url.partition("?")[0].partition("//")[2].partition("@")[2] or "@" in found.get("dbname", ""):
        raise BadLedgerAddress("ledger 'postgresql:…': there is an @ too many: write one that is part of a name as %40")
    return found


def _where(address: Mapping[str, str]) -> str:
    host = ",".join(filter(None, (address.get("host"), address.get("hostaddr"))))
    port = f":{address['port']}" if "port" in address else ""
    return f"postgresql://{host}{port}/{address.get('dbname', '')}"


def _folder(address: Mapping[str, str]) -> str:
    """Another for each ledger: what is left in it is brought to this one."""
    named = ("service", "host", "hostaddr", "port", "dbname" if "dbname" in address else "user", "options")
    given = ("at", *(address[option] for option in named if option in address))
    return re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(given))[:200]


def _version(connection: psycopg.Connection) -> int:
    """0: there is none."""
    if VERSION_TABLE not in _tables(connection):
        return 0
    ((found,),) = connection.execute("SELECT version FROM ledger_version").fetchall()
    return int(found)


def _tables(connection: psycopg.Connection) -> set[str]:
    """Those that are there of a ledger's."""
    # By a query: what looks a name up (to_regclass) may know no better than before it waited for the lock.
    statement = "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND pg_table_is_visible(oid)"
    return {name for (name,) in connection.execute(statement, ([VERSION_TABLE, *TABLES],)).fetchall()}


def _marked(statement: str) -> str:
    """As psycopg has it. None of the statements has a ``?`` or a ``%`` in a text."""
    return statement.replace("?", "%s")
