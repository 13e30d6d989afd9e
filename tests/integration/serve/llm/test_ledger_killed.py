"""Processes that are killed at any moment lose no use, and count none twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve.llm.ledger.journal import take_over
from serve.llm.ledger.sqlite import SqliteLedger
from serve.llm.settings import Budget
from tests.documentation import ROOT
from tests.unit.serve.llm.uses import ledger, use

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60


@contextlib.contextmanager
def writer(folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process under load; it is killed at the end."""
    command = [sys.executable, "-m", "tests.integration.serve.llm.ledger_writer"]
    with (folder / f"{name}.said").open("wb") as said:
        process = subprocess.Popen([*command, f"sqlite:///{folder}/usage.db", name], cwd=ROOT, stdout=said)
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


def said(folder: Path, name: str) -> tuple[set[str], set[str]]:
    """The requests that a process said had begun, and had ended."""
    # The last word may be torn.
    lines = (folder / f"{name}.said").read_text().rpartition("\n")[0].splitlines()
    found = [line.split() for line in lines]
    return {request for word, request in found if word == "began"}, {
        request for word, request in found if word == "ended"
    }


def kept(folder: Path) -> tuple[Counter[str], dict[str, str]]:
    with sqlite3.connect(folder / "usage.db") as database:
        rows = database.execute("SELECT request_id, ended FROM uses").fetchall()
    return Counter(request for request, _ in rows), dict(rows)


def check(folder: Path, *names: str) -> Counter[str]:
    """Take over what is left, and hold it against what was said."""
    store = SqliteLedger(folder / "usage.db")
    take_over(store)
    assert [file.name for file in store.journals.iterdir() if file.suffix == ".jsonl"] == []
    counts, endings = kept(folder)
    assert set(counts.values()) == {1}
    for name in names:
        began, ended = said(folder, name)
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
    with sqlite3.connect(folder / "usage.db") as database:
        (of_uses,) = database.execute("SELECT SUM(dollars) FROM uses").fetchone()
        (spent,) = database.execute("SELECT SUM(dollars) FROM spent").fetchone()
    assert spent == pytest.approx(of_uses)
    return Counter(endings.values())


def test_what_was_settled_before_a_kill_is_in_the_ledger_once_and_what_ran_is_lost(tmp_path: Path) -> None:
    chance = random.Random()
    names = [f"killed{number}" for number in range(5)]
    for name in names:
        with writer(tmp_path, name):
            until(lambda name=name: len(said(tmp_path, name)[1]) > 50)
            time.sleep(chance.uniform(0, 0.3))
        # Sometimes another process, that is killed too, is the one that takes over.
    endings = check(tmp_path, *names)
    assert endings["lost"] >= 5 * (8 - 2)


def test_two_processes_write_at_once_and_a_third_takes_over_from_the_killed_one_alone(tmp_path: Path) -> None:
    async def third(dead: set[str]) -> None:
        own = ledger(tmp_path, [Budget(dollars_per_month=1e9)])
        taken = await own.start()
        assert taken.lost >= 6
        own.reserve("reports", "assistant", 1.0).settle(use(request_id="third-1"))
        await own.close()
        _, endings = kept(tmp_path)
        assert dead <= endings.keys()
        # The other one lives: what it runs is not lost.
        assert {
            request for request, ended in endings.items() if ended == "lost" and request.startswith("two-")
        } == set()

    with writer(tmp_path, "two"):
        with writer(tmp_path, "one"):
            until(lambda: min(len(said(tmp_path, name)[1]) for name in ("one", "two")) > 500)
        asyncio.run(third(said(tmp_path, "one")[0]))
        before = len(said(tmp_path, "two")[1])
        until(lambda: len(said(tmp_path, "two")[1]) > before + 100)
    check(tmp_path, "one", "two")


def test_processes_that_start_at_once_make_one_ledger(tmp_path: Path) -> None:
    names = [f"first{number}" for number in range(4)]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(writer(tmp_path, name))
        until(lambda: all(len(said(tmp_path, name)[1]) > 20 for name in names))
    check(tmp_path, *names)


def test_a_large_journal_is_renewed_under_load_and_loses_nothing_at_a_kill(tmp_path: Path) -> None:
    def renewed() -> bool:
        return any(".1." not in path.name for path in (tmp_path / "usage.db.journals").glob("*.jsonl"))

    with writer(tmp_path, "long"):
        until(renewed)
        time.sleep(0.05)
    check(tmp_path, "long")
