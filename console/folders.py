"""Folders that may be in S3: ``s3://BUCKET/PREFIX`` where a command takes a folder.

A command works on local files. What is in S3 is copied before, or after, in a temporary folder.
Who reads needs ``s3:ListBucket`` and ``s3:GetObject``; who writes ``s3:ListBucket``, ``s3:PutObject``,
``s3:AbortMultipartUpload`` and ``s3:DeleteObject``; and both the bucket's KMS key.

Errors::

    UserError
    ├── AwsError (console.aws)
    └── FolderError
        ├── BadAddress        it is not s3://BUCKET/PREFIX
        ├── FolderNotFound    no object is under the prefix
        ├── FolderTooLarge    more bytes or objects than there is room for
        ├── FolderChanged     objects were written while they were read
        └── FolderRefused     it holds what no command wrote, or can't be a folder of files
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from console import Stage, UserError, stage
from console.aws import client, mapped

T = TypeVar("T")

SCHEME = "s3://"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

MOST_OBJECTS = 100_000
MOST_BYTES = 64 * 2**30
LEFT_FREE = 2**28
"""Bytes of the disk that a download leaves free."""

CONNECTIONS = 8
PAGE_OF_DELETIONS = 1000
EVERY_SECONDS = 10.0


class FolderError(UserError):
    """A folder in S3 can't be read or written."""


class BadAddress(FolderError):
    """It is not ``s3://BUCKET/PREFIX``."""


class FolderNotFound(FolderError):
    """No object is under the prefix."""


class FolderTooLarge(FolderError):
    """It has more bytes or objects than there is room for."""


class FolderChanged(FolderError):
    """Its objects were written while they were read."""


class FolderRefused(FolderError):
    """It holds what no command wrote, or its objects can't be a folder of files."""


@dataclass(frozen=True)
class Address:
    """A folder in S3. ``prefix`` neither starts nor ends with a slash, and is never empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, where: str) -> Address:
        """Read ``s3://BUCKET/PREFIX``.

        Raises:
            BadAddress: it is something else.
        """
        bucket, _, prefix = where.removeprefix(SCHEME).partition("/")
        prefix = prefix.strip("/")
        parts = prefix.split("/")
        if not where.startswith(SCHEME) or not BUCKET.fullmatch(bucket) or not prefix or {"", ".", ".."} & set(parts):
            raise BadAddress(f"{where!r} is not a folder in S3: expected s3://BUCKET/PREFIX, the prefix not empty")
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"


@dataclass(frozen=True)
class Found:
    """An object: its name below the prefix, bytes, and the tag that changes with its content."""

    name: str
    size: int
    tag: str


def is_remote(where: str) -> bool:
    return where.startswith(SCHEME)


@contextmanager
def fetched(where: str, most_bytes: int = MOST_BYTES) -> Iterator[Path]:
    """A folder to read: a local path as it is, one in S3 as a temporary copy that goes with the block.

    An error that the block raises names ``where``, not the copy.

    Raises:
        FolderError: it can't be copied whole.
        AwsError: S3 can't be reached, or does not give it.
    """
    if not is_remote(where):
        yield Path(where)
        return
    address = Address.parse(where)
    s3 = client("s3", where, CONNECTIONS)
    with tempfile.TemporaryDirectory(prefix="fetched-") as scratch:
        folder = Path(scratch)
        with stage(f"fetch {address}") as step:
            found = _listed(s3, address)
            if not found:
                raise FolderNotFound(f"{address}: no object is there: see the bucket and the prefix")
            _require_room(found, folder, min(most_bytes, shutil.disk_usage(folder).free - LEFT_FREE), address)
            _require_files(found, address)
            _download(s3, address, found, folder, step)
            if _listed(s3, address) != found:
                raise FolderChanged(f"{address}: it was written to while it was read: try again when that is over")
        with _naming(folder, where):
            yield folder


@contextmanager
def sent(where: str, products: Collection[str], last: str) -> Iterator[Path]:
    """A folder to write: a local path as it is, for one in S3 a temporary one that is uploaded after the block.

    Nothing is uploaded if the block ends in an error. The object ``last`` is taken away first and comes
    back last, so that where it is, all of the others are too. What an earlier run has left is replaced:
    ``products`` are the names, right below the prefix, that a run may write.

    Raises:
        FolderError: the prefix holds anything but ``products``: found before the block.
        AwsError: S3 can't be reached, or does not take it.
    """
    if not is_remote(where):
        yield Path(where)
        return
    address = Address.parse(where)
    s3 = client("s3", where, CONNECTIONS)
    _require_products(_listed(s3, address), products, address)
    with tempfile.TemporaryDirectory(prefix="sent-") as scratch:
        folder = Path(scratch) / "out"
        with _naming(folder, where):
            yield folder
        with stage(f"send {address}") as step:
            _upload(s3, address, folder, products, last, step)


@contextmanager
def _naming(folder: Path, where: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        error.args = tuple(
            value.replace(str(folder), where.rstrip("/")) if isinstance(value, str) else value for value in error.args
        )
        raise


def _listed(s3: Any, address: Address) -> list[Found]:
    """Every object below the prefix but the empty ones that consoles make for folders, by name."""
    found = []
    with mapped(str(address), "list it"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=f"{address.prefix}/"):
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(f"{address.prefix}/")
                if name and not (name.endswith("/") and not entry["Size"]):
                    found.append(Found(name, entry["Size"], entry["ETag"]))
            if len(found) > MOST_OBJECTS:
                raise FolderTooLarge(f"{address}: it has more than {MOST_OBJECTS:,} objects: name a smaller folder")
    return sorted(found, key=lambda entry: entry.name)


def _require_room(found: list[Found], folder: Path, room: int, address: Address) -> None:
    size = sum(entry.size for entry in found)
    if size > room:
        raise FolderTooLarge(
            f"{address}: it has {_megabytes(size)}, and {folder.parent} has room for {_megabytes(max(room, 0))}: "
            "set TMPDIR to a larger disk, or name a smaller folder"
        )


def _require_files(found: list[Found], address: Address) -> None:
    """Each key must be a path below the folder, and none both a file and a folder."""
    names = {entry.name for entry in found}
    for name in names:
        path = PurePosixPath(name)
        # An empty part or a dot would be another path on a disk than it is a key in S3.
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            raise FolderRefused(f"{address}: the object {name!r} can't be a file of a folder: move it")
        if both := names & {str(parent) for parent in path.parents}:
            raise FolderRefused(f"{address}: {min(both)!r} is an object and a folder of others: move it")


def _require_products(found: list[Found], products: Collection[str], address: Address) -> None:
    strangers = sorted({entry.name for entry in found if entry.name.split("/", 1)[0] not in products})
    if strangers:
        raise FolderRefused(
            f"{address}: it holds {strangers[0]!r}, which this command never writes: move it, or name another prefix"
        )


def _download(s3: Any, address: Address, found: list[Found], folder: Path, step: Stage) -> None:
    def one(entry: Found) -> int:
        file = folder / entry.name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with mapped(str(address), f"fetch {entry.name}"):
                s3.download_file(address.bucket, address.key(entry.name), str(file))
        except OSError as error:
            raise FolderRefused(
                f"{address}: {entry.name} can't be written to {file.parent}: {error.strerror}"
            ) from error
        return entry.size

    size = sum(entry.size for entry in found)
    _in_parallel(one, found, size, step)
    step.detail = f"{len(found):,} objects, {_megabytes(size)}"


def _upload(s3: Any, address: Address, folder: Path, products: Collection[str], last: str, step: Stage) -> None:
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    before = _listed(s3, address)
    # The place was looked at before a job that may have taken hours.
    _require_products(before, products, address)

    def one(name: str) -> int:
        file = folder / name
        # upload_file would hide AWS's code in the text of an error of its own.
        with mapped(str(address), f"send {name}"), file.open("rb") as content:
            s3.upload_fileobj(content, address.bucket, address.key(name))
        return file.stat().st_size

    _delete(s3, address, [last] if any(entry.name == last for entry in before) else [])
    size = sum((folder / name).stat().st_size for name in names)
    _in_parallel(one, [name for name in names if name != last], size, step)
    _delete(s3, address, [entry.name for entry in before if entry.name not in {*names, last}])
    if last in names:
        one(last)
    step.detail = f"{len(names):,} objects, {_megabytes(size)}"


def _delete(s3: Any, address: Address, names: list[str]) -> None:
    for start in range(0, len(names), PAGE_OF_DELETIONS):
        page = names[start : start + PAGE_OF_DELETIONS]
        with mapped(str(address), "replace an earlier run's objects"):
            answer = s3.delete_objects(
                Bucket=address.bucket,
                Delete={"Objects": [{"Key": address.key(name)} for name in page], "Quiet": True},
            )
        if failed := answer.get("Errors"):
            raise FolderRefused(
                f"{address}: an earlier run's {failed[0].get('Key')} can't be deleted ({failed[0].get('Code')}): "
                "let this role have s3:DeleteObject"
            )


def _in_parallel(work: Callable[[T], int], items: Sequence[T], total: int, step: Stage) -> None:
    """Do the work of each item, a few at a time, and tell now and then how many bytes are done.

    The first error ends it: what has not begun is not done any more.
    """
    done, told = 0, time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="s3") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                done += future.result()
                if time.monotonic() - told >= EVERY_SECONDS:
                    told = time.monotonic()
                    step.note(f"{_megabytes(done)} of {_megabytes(total)}")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
