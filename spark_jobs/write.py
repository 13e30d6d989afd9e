"""The output folder of a job: whole, or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import DataFrame

from spark_jobs.contract import FILE_NAME, Contract
from spark_jobs.errors import OutputRefused

VIEW = "view"
QUARANTINE = "quarantine"
PRODUCTS = {VIEW, QUARANTINE, FILE_NAME}
"""All that a job writes: a folder with anything else in it is not ours to replace."""


def check_replaceable(out: Path) -> None:
    """Check that a job may put its output at ``out``: nothing is there, or only what a job wrote.

    Raises:
        OutputRefused: something else is there.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputRefused(f"{out} is a file: name a folder")
    found = {entry.name for entry in out.iterdir()}
    if found and FILE_NAME not in found:
        raise OutputRefused(f"{out} is not empty and holds no {FILE_NAME} of an earlier run: name another folder")
    if strangers := sorted(found - PRODUCTS):
        raise OutputRefused(f"{out} holds {strangers[0]}, which no feature job wrote: move it, or name another folder")


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that takes its place if the block ends without an error.

    Raises:
        OutputRefused: ``out`` may not be replaced, or a folder can't be made beside it.
    """
    out = out.resolve()
    try:
        check_replaceable(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise OutputRefused(f"can't write {out}: {error.strerror}") from error
    try:
        made = scratch / "new"
        made.mkdir()
        yield made
        if out.exists():
            out.rename(scratch / "old")
        made.rename(out)
    except BaseException:
        if not out.exists() and (scratch / "old").exists():
            (scratch / "old").rename(out)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_parquet(frame: DataFrame, folder: Path, order: Sequence[str]) -> None:
    """Write a table as one Parquet file whose rows are in ``order``, with no checksum file beside it."""
    # One file, since a session is one machine's. A global sort would first compute all rows to sample them.
    frame.repartition(1).sortWithinPartitions(*order).write.parquet(str(folder))
    for checksum in folder.glob(".*.crc"):
        checksum.unlink()


def write_contract(contract: Contract, folder: Path) -> None:
    """Write ``contract.json`` into ``folder`` and wait until the disk has it."""
    with (folder / FILE_NAME).open("w", encoding="utf-8") as file:
        file.write(contract.to_json())
        file.flush()
        os.fsync(file.fileno())


def size_of(folder: Path) -> int:
    """Bytes of all files in ``folder`` and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
