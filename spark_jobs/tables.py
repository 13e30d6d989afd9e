"""Source tables: CSV files in a folder, read as text and parsed once, value by value.

A value is missing where it is empty or ``NA``. A value that is there and is not of its column's
type makes the whole row a defect: it is never taken for a missing one.
"""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StringType, StructField, StructType

from spark_jobs.errors import SourceMalformed, SourceMissing
from spark_jobs.quality import COMPLETE, DEFECT, RAW, WELL_FORMED, Rule

Kind = Literal["string", "int", "double", "instant"]
"""``instant`` is ISO 8601 to the second, with ``Z`` or an offset; the rest are Spark's types."""

MISSING = ("", "NA")

_CORRUPT = "_corrupt_record"
_PARSED = "_parsed_"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Field:
    """A column that a job reads from a source table; ``required`` values can't be missing."""

    name: str
    kind: Kind
    required: bool = False


def as_read(rows: DataFrame, _earlier: Mapping[str, DataFrame]) -> DataFrame:
    """Add nothing: the rules of the table look at its own columns."""
    return rows


@dataclass(frozen=True)
class Table:
    """A source table: the file ``NAME.csv``, or ``NAME.csv.zip`` with that file in it.

    Attributes:
        name: of the file, without its suffix.
        fields: the columns that are read. The file may have more, in any order.
        rules: makes the rules of the table, the first one broken first. Called when Spark runs.
        derive: adds the columns that the rules need, from the rows as parsed and from the rows kept
            of the tables before this one, by name. It must give back one row for each.
    """

    name: str
    fields: tuple[Field, ...]
    rules: Callable[[], tuple[Rule, ...]]
    derive: Callable[[DataFrame, Mapping[str, DataFrame]], DataFrame] = as_read


def locate(table: Table, folder: Path, scratch: Path) -> Path:
    """The CSV file of ``table`` in ``folder``; a zipped one is unpacked into ``scratch``.

    Raises:
        SourceMissing: there is no such file.
        SourceMalformed: the zip file is damaged or holds no such file.
    """
    name = f"{table.name}.csv"
    plain, zipped = folder / name, folder / f"{name}.zip"
    if plain.is_file():
        return plain
    if not zipped.is_file():
        raise SourceMissing(f"no {name} (or {zipped.name}) in the source folder {folder}")
    try:
        with zipfile.ZipFile(zipped) as archive, archive.open(name) as packed, (scratch / name).open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SourceMalformed(f"{zipped} is not a zip file that holds {name}: {error}") from error
    return scratch / name


def header(table: Table, file: Path) -> tuple[str, ...]:
    """The column names in the first line of ``file``, in its order.

    Raises:
        SourceMissing: the file can't be opened.
        SourceMalformed: it is not text, or a column that ``table`` needs is missing or named twice.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = tuple(next(csv.reader(lines), ()))
    except OSError as error:
        raise SourceMissing(f"can't read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceMalformed(f"{file} is not a CSV file in UTF-8: {error}") from error
    expected = [field.name for field in table.fields]
    if missing := [name for name in expected if name not in found]:
        raise SourceMalformed(
            f"{file}: expected a column {', '.join(missing)} in its first line, found {', '.join(found) or 'nothing'}"
        )
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise SourceMalformed(f"{file}: expected each column once in its first line, found twice {', '.join(twice)}")
    return found


def read_text(spark: SparkSession, file: Path, columns: tuple[str, ...]) -> DataFrame:
    """Read a CSV file: one row per line after the first, in the one column :data:`RAW`, all text.

    A line with too few or too many values has its whole text in ``_corrupt_record`` besides.
    """
    schema = StructType([StructField(name, StringType()) for name in (*columns, _CORRUPT)])
    rows = spark.read.csv(
        str(file), schema=schema, header=True, quote='"', escape='"', columnNameOfCorruptRecord=_CORRUPT
    )
    return rows.select(sf.struct(*schema.names).alias(RAW))


def parse(rows: DataFrame, table: Table) -> DataFrame:
    """Parse the fields of ``table`` out of :data:`RAW`, one row for each; :data:`DEFECT` says what failed."""
    texts = rows.select(RAW, *(_text(field).alias(field.name) for field in table.fields))
    # Both the text and the value are needed, to tell a missing value from an unreadable one.
    parsed = texts.withColumns({_PARSED + field.name: _parsed(field) for field in table.fields})
    unreadable = [sf.col(RAW)[_CORRUPT].isNotNull()]
    unreadable += [sf.col(name).isNotNull() & sf.col(_PARSED + name).isNull() for name in parsable(table)]
    missing = [sf.col(field.name).isNull() for field in table.fields if field.required]
    defect = sf.when(reduce(Column.__or__, unreadable), WELL_FORMED).when(
        reduce(Column.__or__, missing, sf.lit(False)), COMPLETE
    )
    return parsed.select(
        RAW, defect.alias(DEFECT), *(sf.col(_PARSED + field.name).alias(field.name) for field in table.fields)
    )


def parsable(table: Table) -> tuple[str, ...]:
    """The fields of which not every text is a value."""
    return tuple(field.name for field in table.fields if field.kind != "string")


def _text(field: Field) -> Column:
    text = sf.trim(sf.col(RAW)[field.name])
    return sf.when(~text.isin(*MISSING), text)


def _parsed(field: Field) -> Column:
    text = sf.col(field.name)
    if field.kind == "int":
        return text.try_cast("int")
    if field.kind == "double":
        # Spark alone would also take "NaN", "Infinity" and "1d" for numbers.
        number = sf.when(text.rlike(_NUMBER), text).try_cast("double")
        return sf.when(sf.abs(number) < float("inf"), number)
    if field.kind == "instant":
        return sf.try_to_timestamp(text, sf.lit("yyyy-MM-dd'T'HH:mm:ssXXX"))
    return text
