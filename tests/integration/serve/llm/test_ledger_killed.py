"""Processes that are killed at any moment lose no use, and count none twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve.llm.ledger.journal import Taken, take_over
from serve.llm.settings import Budget
from tests.documentation import ROOT
from tests.ledgers import Place, PostgresqlPlace, SqlitePlace
from tests.postgresql import Server
from tests.unit.serve.llm.uses import ledger, use

pytestmark = pytest.mark.integration

WAIT_SECONDS = 400


@contextlib.contextmanager
def writer(place: Place, folder: Path, name: str, *budget: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process under load; it is killed at the end."""
    command = [sys.executable, "-m", "tests.integration.serve.llm.ledger_writer", place.url, str(place.machine), name]
    with (folder / f"{name}.said").open("wb") as said:
        process = subprocess.Popen([*command, *budget], cwd=ROOT, stdout=said)
        try:
            yield process
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def said(folder: Path, name: str, word: str = "ended") -> set[str]:
    """The requests that a process said had begun, had ended or were refused."""
    # The last word may be torn.
    lines = (folder / f"{name}.said").read_text().rpartition("\n")[0].splitlines()
    return {request for each, request in map(str.split, lines) if each == word}


def kept(place: Place) -> tuple[Counter[str], dict[str, str]]:
    rows = place.query("SELECT request_id, ended FROM uses")
    return Counter(request for request, _ in rows), dict(rows)


def check(place: Place, folder: Path, *names: str) -> Counter[str]:
    """Take over what is left, and hold it against what was said."""
    with contextlib.closing(place.store()) as store:
        take_over(store)
    assert [file.name for file in place.machine.iterdir() if file.suffix == ".jsonl"] == []
    counts, endings = kept(place)
    assert set(counts.values()) == {1}
    for name in names:
        began, ended = said(folder, name, "began"), said(folder, name)
        assert ended
        assert {endings.get(request) for request in ended} == {"done"}
        running = began - ended
        assert {endings.get(request) for request in running} <= {"done", "lost"}
        # It was killed after a step of one request, before it said so.
        unsaid = [request for request in running if endings[request] == "done"]
        assert len(unsaid) <= 1
        mine = {request for request in counts if request.startswith(f"{name}-")}
        assert len(mine - began) <= 1
    # What the budgets read is what the uses come to.
    ((of_uses,),) = place.query("SELECT SUM(dollars) FROM uses")
    ((spent,),) = place.query("SELECT SUM(dollars) FROM spent")
    assert spent == pytest.approx(of_uses)
    return Counter(endings.values())


def test_what_was_settled_before_a_kill_is_in_the_ledger_once_and_what_ran_is_lost(
    place: Place, tmp_path: Path
) -> None:
    chance = random.Random()
    names = [f"killed{number}" for number in range(5)]
    for name in names:
        with writer(place, tmp_path, name):
            until(lambda name=name: len(said(tmp_path, name)) > 50)
            time.sleep(chance.uniform(0, 0.3))
        # Sometimes another process, that is killed too, is the one that takes over.
    endings = check(place, tmp_path, *names)
    assert endings["lost"] >= 5 * (8 - 2)


def test_two_processes_write_at_once_and_a_third_takes_over_from_the_killed_one_alone(
    place: Place, tmp_path: Path
) -> None:
    async def third(dead: set[str]) -> None:
        own = ledger(place, [Budget(dollars_per_month=1e9)])
        taken = await own.start()
        assert taken.lost >= 6
        own.reserve("reports", "assistant", 1.0).settle(use(request_id="third-1"))
        await own.close()
        _, endings = kept(place)
        assert dead <= endings.keys()
        # The other one lives: what it runs is not lost.
        assert {
            request for request, ended in endings.items() if ended == "lost" and request.startswith("two-")
        } == set()

    with writer(place, tmp_path, "two"):
        with writer(place, tmp_path, "one"):
            until(lambda: min(len(said(tmp_path, name)) for name in ("one", "two")) > 500)
        asyncio.run(third(said(tmp_path, "one", "began")))
        before = len(said(tmp_path, "two"))
        until(lambda: len(said(tmp_path, "two")) > before + 100)
    check(place, tmp_path, "one", "two")


def test_processes_that_start_at_once_make_one_ledger(place: Place, tmp_path: Path) -> None:
    names = [f"first{number}" for number in range(4)]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(writer(place, tmp_path, name))
        until(lambda: all(len(said(tmp_path, name)) > 20 for name in names))
    check(place, tmp_path, *names)


def test_a_large_journal_is_renewed_under_load_and_loses_nothing_at_a_kill(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)

    def renewed() -> bool:
        return any(".1." not in path.name for path in place.machine.glob("*.jsonl"))

    with writer(place, tmp_path, "long"):
        until(renewed)
        time.sleep(0.05)
    check(place, tmp_path, "long")


def test_machines_share_a_budget_and_one_that_is_killed_gives_back_what_it_did_not_spend(
    tmp_path: Path, postgresql_server: Server
) -> None:
    one = PostgresqlPlace(tmp_path / "one", postgresql_server)
    two = PostgresqlPlace(tmp_path / "two", postgresql_server, one.database)
    with writer(one, tmp_path, "one", "10"):
        until(lambda: bool(said(tmp_path, "one", "refused")))
        # Its spending and what still runs there are known on the other machine: nothing fits there either.
        with writer(two, tmp_path, "two", "10"):
            until(lambda: bool(said(tmp_path, "two", "refused")))
        assert said(tmp_path, "two", "began") == set()
        both = "SELECT dollars FROM spent UNION ALL SELECT dollars FROM held"
        ((taken,),) = one.query(f"SELECT SUM(dollars) FROM ({both}) AS taken")
        assert 9.5 < taken <= 10
        assert one.query("SELECT COUNT(DISTINCT process) FROM held") == [(1,)]
    # What it reserved counts for a while, and where it is not heard of again, no longer.
    with writer(two, tmp_path, "three", "10"):
        until(lambda: bool(said(tmp_path, "three", "refused")))
    assert said(tmp_path, "three", "began") == set()
    one.query("UPDATE held SET at = at - 61000000")
    with writer(two, tmp_path, "four", "10"):
        until(lambda: bool(said(tmp_path, "four", "refused")))
    running = len(said(tmp_path, "four", "began"))
    assert running == 7
    with contextlib.closing(two.store()) as store:
        assert take_over(store) == Taken(lost=running)
    # It starts again: what it spent and what was lost there is told, once.
    endings = check(one, tmp_path, "one")
    assert endings["lost"] - running in (6, 7, 8)
