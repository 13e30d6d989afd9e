"""A file of each process with what it has not brought to the store yet, so that a kill loses none of it.

A line a record, each one ``write`` to a file that is only appended to: it is the kernel's from then on, whatever
becomes of the process. The process holds a lock on its file, which ends with it, however it ends; whoever gets the
lock takes the file over: what had ended goes to the store, what was running is told as lost. What can't be read of it
(the last line may be torn) is kept in ``torn.txt``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from console import one_line
from serve.llm.ledger.entries import Began, Entry
from serve.llm.ledger.store import LedgerUnwritable, UsageStore

SUFFIX = ".jsonl"
TORN = "torn.txt"
LARGEST_BYTES = 4 * 2**20
"""Of a journal, before another takes its place."""

BEGAN, ENDED, RELEASED = b"B", b"E", b"R"

_BEGAN = TypeAdapter(Began)
_ENTRY = TypeAdapter(Entry)
_NAME = TypeAdapter(str)


@dataclass(frozen=True, slots=True)
class Torn:
    """A line that can't be read."""

    line: bytes
    reason: str


@dataclass(slots=True)
class Contents:
    """What a journal says. ``running``: began, and has not ended."""

    ended: list[Entry] = field(default_factory=list)
    running: dict[str, Began] = field(default_factory=dict)
    torn: list[Torn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken over from processes that are gone."""

    uses: int = 0
    lost: int = 0
    torn: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.uses + other.uses, self.lost + other.lost, self.torn + other.torn)


def contents(data: bytes) -> Contents:
    """Read a journal; never an exception."""
    found = Contents()
    gone = set()
    for line in data.split(b"\n"):
        if not line:
            continue
        try:
            if line[:1] == BEGAN:
                began = _BEGAN.validate_json(line[1:])
                found.running[began.id] = began
            elif line[:1] == ENDED:
                entry = _ENTRY.validate_json(line[1:])
                found.ended.append(entry)
                gone.add(entry.id)
            elif line[:1] == RELEASED:
                gone.add(_NAME.validate_json(line[1:]))
            else:
                found.torn.append(Torn(line, "neither a beginning nor an end of a request"))
        except ValidationError as error:
            found.torn.append(Torn(line, one_line(error.errors(include_url=False, include_input=False)[0]["msg"])))
    for name in gone:
        found.running.pop(name, None)
    return found


class Journal:
    """This process's. ``process`` is unique. Nothing here raises once it is open: ``on_problem`` is told, once."""

    def __init__(self, folder: Path, process: str, on_problem: Callable[[str], None]) -> None:
        self._folder = folder
        self._process = process
        self._on_problem = on_problem
        self._number = 0
        self._file: int | None = None
        self._path: Path | None = None
        self._torn = False
        self.failing = False
        self.size = 0

    def open(self) -> None:
        """Raises: LedgerUnwritable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file, self._path = self._new()
        except OSError as error:
            raise LedgerUnwritable(
                f"{self._folder}: a journal can't be made there ({error.strerror}): name another place for the ledger"
            ) from error

    def began(self, began: Began) -> bool:
        """Whether it is written."""
        return self._append(BEGAN, _BEGAN, began)

    def ended(self, entry: Entry) -> bool:
        """Whether it is written."""
        return self._append(ENDED, _ENTRY, entry)

    def released(self, name: str) -> bool:
        """It was not let in after all. Whether it is written."""
        return self._append(RELEASED, _NAME, name)

    def renew(self, running: Iterable[Began], pending: Iterable[Entry]) -> None:
        """Begin another file with what still counts, in place of this one."""
        try:
            file, path = self._new()
        except OSError as error:
            self._tell(error)
            return
        before = (self._file, self._path, self._torn, self.size)
        self._file, self._path, self._torn, self.size = file, path, False, 0
        written = [*map(self.began, running), *map(self.ended, pending)]
        if all(written):
            _discard(*before[:2])
        else:
            self._file, self._path, self._torn, self.size = before
            _discard(file, path)

    def read(self) -> Contents:
        """What this process wrote."""
        try:
            return contents(self._path.read_bytes()) if self._path is not None else Contents()
        except OSError as error:
            self._tell(error)
            return Contents()

    def remove(self) -> None:
        """Nothing in it counts any more."""
        _discard(self._file, self._path)
        self._file = self._path = None

    def _new(self) -> tuple[int, Path]:
        self._number += 1
        path = self._folder / f"{self._process}.{self._number}{SUFFIX}"
        made = path.with_suffix(".new")
        file = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        # It gets its name when it is locked, so that nobody takes it over before.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(path)
        return file, path

    def _append(self, kind: bytes, adapter: TypeAdapter[Any], record: Began | Entry | str) -> bool:
        if self._file is None:
            return False
        try:
            line = b"%b%b%b\n" % (b"\n" if self._torn else b"", kind, adapter.dump_json(record))
            written = os.write(self._file, line)
            self.size += written
            self._torn = written < len(line)
            if self._torn:
                raise OSError(f"{written} of {len(line)} bytes were written")
        except (OSError, ValueError) as error:
            self._tell(error)
            return False
        self.failing = False
        return True

    def _tell(self, error: Exception) -> None:
        if not self.failing:
            self._on_problem(
                f"{self._folder}: the journal can't be written ({error}): uses that are not in the ledger yet would be "
                "lost with this process"
            )
        self.failing = True


def _discard(file: int | None, path: Path | None) -> None:
    if file is not None and path is not None:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def take_over(store: UsageStore) -> Taken:
    """Bring to the store what processes left that are gone.

    Raises:
        LedgerError: the store or the folder can't be written; the journals stay.
    """
    found = Taken()
    try:
        paths = sorted(store.journals.glob(f"*{SUFFIX}"))
        for path in paths:
            with _locked(path) as file:
                if file is not None:
                    found += _take(store, path, file)
    except OSError as error:
        raise LedgerUnwritable(
            f"{store.journals}: a journal can't be taken over ({error.strerror}): see that this user may write there"
        ) from error
    return found


def _take(store: UsageStore, path: Path, file: int) -> Taken:
    with open(file, "rb", closefd=False) as stream:
        found = contents(stream.read())
    lost = [began.lost() for began in found.running.values()]
    store.write([*found.ended, *lost], ended=path.name.partition(".")[0])
    if found.torn:
        _keep_aside(path, found.torn)
    path.unlink()
    return Taken(len(found.ended), len(lost), len(found.torn))


def _keep_aside(path: Path, torn: list[Torn]) -> None:
    lines = [
        json.dumps({"journal": path.name, "reason": each.reason, "line": each.line.decode("utf-8", "backslashreplace")})
        for each in torn
    ]
    file = os.open(path.with_name(TORN), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        os.write(file, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(file)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The journal, if its process is gone and nobody else has taken it over."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file if os.fstat(file).st_nlink else None
    finally:
        os.close(file)
