from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql
from tests.ledgers import Place, PostgresqlPlace, SqlitePlace


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    with postgresql.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each database that a ledger can be in."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path)
    return PostgresqlPlace(tmp_path, request.getfixturevalue("postgresql_server"))
