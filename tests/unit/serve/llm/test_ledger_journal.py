"""The journal: whatever is cut off of it, what was whole is read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.ledger import journal as module
from serve.llm.ledger.entries import Began, Entry, entry_of
from serve.llm.ledger.journal import TORN, Journal, Taken, contents, take_over
from serve.llm.ledger.ledger import open_ledger
from serve.llm.ledger.store import LedgerUnwritable, UsageStore
from serve.llm.settings import UsageSettings
from tests.ledgers import Place
from tests.unit.serve.llm.uses import LATER, NOON, use


def began(name: str = "p-1", most: float = 0.5) -> Began:
    return Began(name, NOON, "reports", "assistant", most, f"request {name}")


def ended(name: str = "p-1") -> Entry:
    return entry_of(began(name), use(request_id=f"request {name}"))


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def store(place: Place) -> Iterator[UsageStore]:
    with contextlib.closing(place.store()) as found:
        found.prepare()
        yield found


def opened(store: UsageStore, problems: list[str], process: str = "p") -> Journal:
    journal = Journal(store.journals, process, problems.append)
    journal.open()
    return journal


def die(journal: Journal) -> None:
    """As a kill would: the lock goes, the file stays."""
    assert journal._file is not None
    os.close(journal._file)
    journal._file = None


def endings(place: Place) -> list[tuple[str, str, float | None]]:
    return [tuple(row) for row in place.query("SELECT id, ended, dollars FROM uses ORDER BY id")]


RECORDS = st.lists(st.tuples(st.booleans(), st.text(max_size=20), st.floats(0, 100)), max_size=8)


@given(RECORDS, st.data())
def test_a_journal_that_is_cut_anywhere_gives_what_was_whole(
    records: list[tuple[bool, str, float]], data: st.DataObject
) -> None:
    lines, names = [], []
    for number, (ends, text, dollars) in enumerate(records):
        name = f"p-{number}"
        start = Began(name, NOON, text, text, dollars, text)
        if ends:
            entry = entry_of(start, use(request_id=text, dollars=dollars, ended=text))
            lines.append(b"E" + module._ENTRY.dump_json(entry) + b"\n")
        else:
            lines.append(b"B" + module._BEGAN.dump_json(start) + b"\n")
        names.append((ends, name))
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = contents(whole[:cut])
    lengths = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    # A line without its newline is whole already.
    read = [name for name, length in zip(names, lengths, strict=True) if cut >= length - 1]
    assert [entry.id for entry in found.ended] == [name for ends, name in read if ends]
    assert list(found.running) == [name for ends, name in read if not ends]
    assert len(found.torn) <= 1
    if cut == len(whole):
        assert not found.torn
        again = [entry.use.dollars for entry in found.ended]
        assert again == [dollars for ends, _, dollars in records if ends]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_told_as_torn(data: bytes) -> None:
    found = contents(data)
    assert len(found.torn) == sum(1 for line in data.split(b"\n") if line)


def test_a_dead_process_s_ends_go_to_the_store_and_what_ran_is_lost(
    place: Place, store: UsageStore, problems: list[str]
) -> None:
    journal = opened(store, problems)
    for name in ("p-1", "p-2", "p-3"):
        journal.began(began(name, 0.0 if name == "p-3" else 0.5))
    journal.ended(ended("p-1"))
    die(journal)
    assert take_over(store) == Taken(uses=1, lost=2, torn=0)
    # What may have come to anything is unknown, and not 0.
    assert endings(place) == [("p-1", "done", 0.25), ("p-2", "lost", 0.5), ("p-3", "lost", None)]
    assert list(store.journals.iterdir()) == []
    assert take_over(store) == Taken()
    assert problems == []


def test_a_living_process_s_journal_is_left_alone(store: UsageStore, problems: list[str]) -> None:
    journal = opened(store, problems)
    journal.began(began())
    journal.ended(ended())
    assert take_over(store) == Taken()
    assert len(list(store.journals.iterdir())) == 1
    journal.remove()
    assert list(store.journals.iterdir()) == []


def test_a_torn_line_is_kept_aside_and_its_request_told_as_lost(
    place: Place, store: UsageStore, problems: list[str]
) -> None:
    journal = opened(store, problems)
    journal.began(began())
    journal.ended(ended())
    path = journal._path
    assert path is not None
    die(journal)
    path.write_bytes(path.read_bytes()[:-20])
    assert take_over(store) == Taken(uses=0, lost=1, torn=1)
    assert endings(place) == [("p-1", "lost", 0.5)]
    (aside,) = (store.journals / TORN).read_text().splitlines()
    found = json.loads(aside)
    assert found["journal"] == path.name
    assert found["reason"]
    assert found["line"].startswith('E{"id":"p-1"')


def test_a_journal_stays_where_the_store_can_not_be_written(
    store: UsageStore, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(store, problems)
    journal.ended(ended())
    die(journal)

    def refused(*arguments: object, **named: object) -> None:
        raise LedgerUnwritable("no room")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", refused)
        with pytest.raises(LedgerUnwritable):
            take_over(store)
    assert take_over(store) == Taken(uses=1)


def test_of_two_that_take_over_at_once_one_does_it(
    store: UsageStore, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(store, problems)
    journal.ended(ended())
    die(journal)
    real = module.fcntl.flock

    def late(file: int, how: int) -> None:
        monkeypatch.setattr(module.fcntl, "flock", real)
        assert take_over(store) == Taken(uses=1)
        real(file, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    assert take_over(store) == Taken()


def test_a_renewed_journal_has_only_what_still_counts(place: Place, store: UsageStore, problems: list[str]) -> None:
    journal = opened(store, problems)
    for number in range(9):
        journal.began(began(f"p-{number}"))
        journal.ended(ended(f"p-{number}"))
    large = journal.size
    journal.renew([began("p-10")], [ended("p-8")])
    assert 0 < journal.size < large
    assert len(list(store.journals.iterdir())) == 1
    journal.ended(ended("p-10"))
    die(journal)
    assert take_over(store) == Taken(uses=2)
    assert [name for name, *_ in endings(place)] == ["p-10", "p-8"]


def test_a_renewed_journal_that_lacks_a_record_does_not_take_the_old_one_s_place(
    store: UsageStore, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(store, problems)
    for number in range(2):
        journal.ended(ended(f"p-{number}"))
    real = os.write
    with monkeypatch.context() as patched:

        def fails_first(file: int, line: bytes) -> int:
            patched.setattr(module.os, "write", real)
            raise OSError(28, "no space")

        patched.setattr(module.os, "write", fails_first)
        journal.renew([], [ended("p-0"), ended("p-1")])
    assert len(list(store.journals.iterdir())) == 1
    die(journal)
    assert take_over(store) == Taken(uses=2)


def test_a_full_disk_is_told_once_and_what_comes_after_it_is_read(
    place: Place, store: UsageStore, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(store, problems)
    real = os.write

    def short(file: int, line: bytes) -> int:
        return real(file, line[:10])

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", short)
        journal.ended(ended("p-1"))
        journal.ended(ended("p-2"))
        patched.setattr(module.os, "write", lambda file, line: (_ for _ in ()).throw(OSError(28, "no space")))
        journal.ended(ended("p-3"))
        journal.renew([], [ended("p-3")])
    assert len(problems) == 1
    journal.ended(ended("p-4"))
    journal.ended(ended("p-5"))
    die(journal)
    taken = take_over(store)
    assert (taken.uses, taken.lost) == (2, 0)
    assert [name for name, *_ in endings(place)] == ["p-4", "p-5"]


def test_journals_lie_where_the_settings_say(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"

    async def check() -> None:
        kept = open_ledger(UsageSettings(ledger=place.url, journals=folder))
        await kept.start()
        assert [path.suffix for path in folder.iterdir()] == [".jsonl"]
        await kept.close()

    asyncio.run(check())
    assert not place.machine.exists()


def test_a_folder_that_can_not_be_made_is_said_at_the_start(tmp_path: Path, problems: list[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnwritable, match="journal can't be made"):
        Journal(tmp_path / "file" / "journals", "p", problems.append).open()


def test_taking_over_twice_counts_once(store: UsageStore, problems: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the store's commit and the journal's end."""
    journal = opened(store, problems)
    journal.began(began("p-1"))
    journal.ended(ended("p-1"))
    journal.began(began("p-2"))
    die(journal)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path: (_ for _ in ()).throw(OSError(5, "killed here")))
        with pytest.raises(LedgerUnwritable):
            take_over(store)
    assert take_over(store) == Taken(uses=1, lost=1)
    (sums,) = store.sums("model", None, LATER, 86_400)
    assert (sums.requests, sums.dollars) == (2, 0.75)
    assert store.exchange("other", [], {}, 0) == {("reports", "assistant", 20_526): 0.75}
