"""Rules that a row must keep to, and the quarantine for the rows that don't.

Rows are never dropped and never mended: each row read is either kept or quarantined with the name
of the first rule it broke, and the two counts add up to the rows read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.window import Window

from spark_jobs.contract import SourceCount

RAW = "_raw"
"""A struct of the row's values as the file has them, all strings."""

DEFECT = "_defect"
"""Why the row could not be read (``well-formed``, ``complete``), or NULL."""

BROKEN = "_broken"
"""The name of the first rule that the row breaks, or NULL."""

REFUSED = "_refused"
"""The values of a row that breaks a rule, as JSON, or NULL."""

QUARANTINE_COLUMNS = ("table", "rule", "row")
"""The row as JSON, with the values as the file has them; one with nothing between its commas is left out."""

_KEBAB_CASE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, eq=False)
class Rule:
    """What is true of every good row.

    Attributes:
        name: in kebab-case; it is what the quarantine and the contract call the rule.
        description: what a good row is like, in words.
        good: TRUE for a good row, FALSE for a bad one. It may look at other rows (a window).
        null_passes: what becomes of a row for which ``good`` is NULL, as when it compares a missing
            value. There is no default: whoever writes a rule decides.
    """

    name: str
    description: str
    good: Column
    null_passes: bool

    def __post_init__(self) -> None:
        if not _KEBAB_CASE.fullmatch(self.name):
            raise ValueError(f"a rule's name is in kebab-case, not {self.name!r}")

    @property
    def broken(self) -> Column:
        """TRUE for a bad row, else FALSE."""
        return ~sf.coalesce(self.good, sf.lit(self.null_passes))


WELL_FORMED = "well-formed"
COMPLETE = "complete"


def readable() -> tuple[Rule, ...]:
    """The rules that come first for each table: its values can be read, and those it needs are there."""
    return (
        Rule(WELL_FORMED, "every value is of its column's type", sf.col(DEFECT) != WELL_FORMED, null_passes=True),
        Rule(COMPLETE, "every value that a row must have is there", sf.col(DEFECT) != COMPLETE, null_passes=True),
    )


def key_unique(*key: str) -> Rule:
    """One row per key is kept: a readable one, and the same one however the rows are ordered."""
    order = Window.partitionBy(*key).orderBy(sf.col(DEFECT).asc_nulls_first(), sf.xxhash64(RAW))
    return Rule(
        "key-unique", f"only one row has its {', '.join(key)}", sf.row_number().over(order) == 1, null_passes=False
    )


@dataclass(frozen=True)
class Checked:
    """A source table whose rows have been held against its rules.

    ``rows`` has every row that was read, with the columns :data:`BROKEN` and :data:`REFUSED` beside
    its own.
    """

    table: str
    rules: tuple[str, ...]
    rows: DataFrame

    @property
    def kept(self) -> DataFrame:
        """The rows that break no rule."""
        return self._own_columns(sf.col(BROKEN).isNull())

    def kept_before(self, rule: str) -> DataFrame:
        """The rows that keep to all rules that come before ``rule``, whatever they do to it and later ones."""
        later = self.rules[self.rules.index(rule) :]
        return self._own_columns(sf.col(BROKEN).isNull() | sf.col(BROKEN).isin(*later))

    def _own_columns(self, wanted: Column) -> DataFrame:
        return self.rows.where(wanted).drop(BROKEN, REFUSED)

    @property
    def quarantined(self) -> DataFrame:
        """One row per row refused: its table, the first rule that it breaks, and the row as JSON."""
        return self.rows.where(sf.col(BROKEN).isNotNull()).select(
            sf.lit(self.table).alias("table"),
            sf.col(BROKEN).alias("rule"),
            sf.col(REFUSED).alias("row"),
        )

    def cached(self) -> Checked:
        """The same rows, kept in memory once they have been computed."""
        return Checked(self.table, self.rules, self.rows.cache())

    def count(self, read: int) -> SourceCount:
        """Count the rows by what became of them.

        Args:
            read: how many rows the source has, counted before anything was done to them.

        Raises:
            ValidationError: rows were lost or doubled between the source and the rules.
        """
        counts = {row[BROKEN]: row["count"] for row in self.rows.groupBy(BROKEN).count().collect()}
        quarantined = {rule: counts.get(rule, 0) for rule in self.rules}
        return SourceCount(table=self.table, read=read, kept=counts.get(None, 0), quarantined=quarantined)


def check(frame: DataFrame, table: str, rules: Sequence[Rule]) -> Checked:
    """Note against each row the first of ``rules``, in their order, that it breaks."""
    names = tuple(rule.name for rule in rules)
    if len(set(names)) != len(names):
        raise ValueError(f"{table} has two rules of one name: {', '.join(names)}")
    first_broken = sf.coalesce(*(sf.when(rule.broken, sf.lit(rule.name)) for rule in rules))
    checked = frame.withColumn(BROKEN, first_broken)
    # The text of the rows kept would be most of what a cache holds, and nobody asks for it.
    refused = checked.withColumn(REFUSED, sf.when(sf.col(BROKEN).isNotNull(), sf.to_json(RAW)))
    return Checked(table, names, refused.drop(RAW, DEFECT))


def quarantine(tables: Sequence[Checked]) -> DataFrame:
    """One row per row refused, of all tables, with :data:`QUARANTINE_COLUMNS`."""
    return reduce(DataFrame.unionByName, (table.quarantined for table in tables))
