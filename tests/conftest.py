from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Its driver takes a third of a second to import, and few tests need it.
if TYPE_CHECKING:
    from tests.ledgers import Place
    from tests.postgresql import Server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    from tests import postgresql

    with postgresql.running() as server:
        yield server


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal, for this process and for what it starts: a shell's background job is deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each database that a ledger can be in."""
    from tests.ledgers import PostgresqlPlace, SqlitePlace

    if request.param == "sqlite":
        return SqlitePlace(tmp_path)
    return PostgresqlPlace(tmp_path, request.getfixturevalue("postgresql_server"))
