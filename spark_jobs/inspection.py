"""Holds the rows built against what the view declares, before anything is published."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from spark_jobs.contract import SplitName
from spark_jobs.errors import ViewBroken
from spark_jobs.views.view import ColumnSpec, FeatureView, dtypes_of


@dataclass(frozen=True)
class RowCounts:
    """The rows of a view, all of them and by split."""

    total: int
    splits: dict[SplitName, int]


def in_split(view: FeatureView, split: SplitName) -> Column:
    """TRUE for the rows whose event time is in ``split``."""
    start, end = view.splits[split]
    return (sf.col(view.event_time) >= sf.lit(start)) & (sf.col(view.event_time) < sf.lit(end))


def check_schema(rows: DataFrame, view: FeatureView) -> None:
    """Check that ``rows`` has the columns of ``view``, in its order and of its dtypes.

    Raises:
        ViewBroken: it has not; the first difference is named.
    """
    found, declared = list(dtypes_of(rows.schema).items()), [(column.name, column.dtype) for column in view.columns]
    for position, (is_, should_be) in enumerate(zip(found, declared, strict=False)):
        if is_ != should_be:
            raise ViewBroken(f"column {position} of view {view.name!r} is {is_}, declared {should_be}")
    if len(found) != len(declared):
        raise ViewBroken(f"view {view.name!r} was built with {len(found)} columns, declared {len(declared)}")


def check_rows(rows: DataFrame, view: FeatureView) -> RowCounts:
    """Check every value of ``rows`` against ``view``, and count the rows.

    Raises:
        ViewBroken: a value is missing where none may be, is NaN or beyond its column's bounds, or
            two rows have the same event time and keys.
    """
    checks = {f"{column.name} {what}": broken for column in view.columns for what, broken in violations(column).items()}
    counted = rows.agg(
        sf.count("*").alias("rows"),
        *(sf.count_if(in_split(view, split)).alias(split) for split in view.splits),
        *(sf.count_if(broken).alias(what) for what, broken in checks.items()),
    ).collect()[0]
    if found := [f"{counted[what]} rows where {what}" for what in checks if counted[what]]:
        raise ViewBroken(f"view {view.name!r} has {'; '.join(found)}")
    twice = rows.groupBy(*view.identity).count().where("count > 1").count()
    if twice:
        raise ViewBroken(f"view {view.name!r} has {twice} groups of rows with the same {', '.join(view.identity)}")
    return RowCounts(counted["rows"], {split: counted[split] for split in view.splits})


def violations(column: ColumnSpec) -> dict[str, Column]:
    """What a value of ``column`` must not be: words → TRUE where it is."""
    value = sf.col(column.name)
    found = {} if column.nullable else {"is missing": value.isNull()}
    if column.dtype in ("float32", "float64"):
        found["is NaN"] = sf.isnan(value)
    if column.minimum is not None:
        found[f"is below {column.minimum:g}"] = value < column.minimum
    if column.maximum is not None:
        found[f"is above {column.maximum:g}"] = value > column.maximum
    return found
