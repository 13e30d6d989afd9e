"""A folder of source tables in S3, looked at by ranges: no file is read whole that is not small.

A table is ``NAME.csv``, or that file in ``NAME.csv.zip``: as ``spark_jobs.tables`` reads them.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

from infra.lambdas.steps import StepError

SAMPLE_BYTES = 2**20
"""Of a file's text that is looked at; a file with less is counted, a larger one estimated."""

READ_BYTES = 2**18
SUFFIXES = (".csv", ".csv.zip")


class BadData(StepError):
    """A drop is not as it must be. The text names the table, the column, what was expected and what came."""


@dataclass(frozen=True)
class Sample:
    """The beginning of a table. ``total`` is the number of bytes of the whole text."""

    data: bytes
    whole: bool
    total: int


class Ranges(io.RawIOBase):
    """An object of S3 as a file that can be read from anywhere in it, one request a read."""

    def __init__(self, s3: Any, bucket: str, key: str, size: int) -> None:
        super().__init__()
        self._s3, self._bucket, self._key, self._size = s3, bucket, key, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        found = self._s3.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-{end - 1}")
        data = found["Body"].read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@dataclass(frozen=True)
class Drop:
    """``folder`` ends with a slash. ``s3`` is boto3's client."""

    s3: Any
    bucket: str
    folder: str

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The files of the folder itself, by name."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.folder, Delimiter="/")
        return {
            entry["Key"].removeprefix(self.folder): int(entry["Size"])
            for page in pages
            for entry in page.get("Contents", [])
        }

    def table(self, name: str, columns: Sequence[str], most_bytes: int) -> dict[str, Any]:
        """What is known of a table's file once it is found good.

        Raises:
            BadData
        """
        file = next((f"{name}{suffix}" for suffix in SUFFIXES if f"{name}{suffix}" in self.sizes), None)
        if file is None:
            wanted = ", ".join(f"{name}{suffix}" for suffix in SUFFIXES)
            there = ", ".join(sorted(self.sizes)[:10]) or "nothing"
            raise BadData(f"table {name}: expected one of {wanted} in s3://{self.bucket}/{self.folder}, found {there}")
        size = self.sizes[file]
        if not 0 < size <= most_bytes:
            raise BadData(f"table {name}: {file} has {size:,} bytes, expected 1 to {most_bytes:,}")
        sample = self._sample(name, file, size)
        text = _text(name, file, sample)
        found = _header(name, file, text)
        if missing := [column for column in columns if column not in found]:
            shown = ", ".join(found)[:200] or "nothing"
            raise BadData(f"table {name}: column {missing[0]}: expected in the first line of {file}, found {shown}")
        if twice := [column for column in found if found.count(column) > 1]:
            raise BadData(f"table {name}: column {twice[0]}: expected once in the first line of {file}, found twice")
        rows = _rows(text, sample)
        if rows < 1:
            raise BadData(f"table {name}: expected rows after the first line of {file}, found none")
        return {"file": file, "bytes": size, "columns": found, "rows": rows, "counted": sample.whole}

    def _sample(self, name: str, file: str, size: int) -> Sample:
        raw = Ranges(self.s3, self.bucket, f"{self.folder}{file}", size)
        with io.BufferedReader(raw, READ_BYTES) as stream:
            try:
                if file.endswith(".zip"):
                    with zipfile.ZipFile(stream) as archive, archive.open(f"{name}.csv") as packed:
                        return _beginning(packed, archive.getinfo(f"{name}.csv").file_size)
                return _beginning(stream, size)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
                raise BadData(f"table {name}: {file} is not a whole compressed {name}.csv: {error}") from error


def _beginning(stream: IO[bytes], total: int) -> Sample:
    data = stream.read(SAMPLE_BYTES)
    return Sample(data, not stream.read(1), total)


def _text(name: str, file: str, sample: Sample) -> str:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        # The sample may end within a character, the file may not.
        return decoder.decode(sample.data, final=sample.whole)
    except UnicodeDecodeError as error:
        line = sample.data.count(b"\n", 0, error.start) + 1
        raise BadData(
            f"table {name}: line {line} of {file}: expected UTF-8, found the byte 0x{sample.data[error.start]:02x}"
        ) from error


def _header(name: str, file: str, text: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise BadData(f"table {name}: the first line of {file} is not CSV: {error}") from error


def _rows(text: str, sample: Sample) -> int:
    """Lines that are not empty, without the first."""
    lines = sum(1 for line in text.splitlines() if line)
    if sample.whole:
        return lines - 1
    return max(0, round(lines * sample.total / len(sample.data)) - 1)
