"""What a feature view declares: its columns, its splits, its sources and how its rows are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql.types import (
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from spark_jobs.contract import CategoricalProfile, Column, Dtype, NumericProfile, Role, SplitName
from spark_jobs.quality import Checked
from spark_jobs.tables import Table

SPARK_TYPES: dict[Dtype, DataType] = {
    "string": StringType(),
    "int32": IntegerType(),
    "int64": LongType(),
    "float32": FloatType(),
    "float64": DoubleType(),
    "timestamp": TimestampType(),
}


@dataclass(frozen=True)
class ColumnSpec:
    """A column as :class:`spark_jobs.contract.Column` has it, before there is a profile of it."""

    name: str
    dtype: Dtype
    role: Role
    description: str
    nullable: bool = False
    unit: str | None = None
    group: str | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def is_categorical(self) -> bool:
        return self.role == "feature" and self.dtype == "string"

    @property
    def is_numeric(self) -> bool:
        return self.role == "feature" and self.dtype != "string"

    def with_profile(self, profile: NumericProfile | CategoricalProfile | None) -> Column:
        return Column(**asdict(self), profile=profile)


@dataclass(frozen=True)
class FeatureView:
    """One feature view.

    Attributes:
        name: what the command line and the contract call it.
        grain: what one row is, in words.
        prediction_lead_minutes: every feature is known so long before the event time.
        reporting_timezone: IANA name of the zone that people's days and months are cut in.
        columns: in the order of the view.
        splits: name → (start, end), half-open, in UTC.
        sources: the tables, in the order in which they are checked.
        default_source: finds the folder of the tables where the command names none.
        build: makes the rows of the view, with exactly ``columns``, from the checked tables by name.
    """

    name: str
    grain: str
    prediction_lead_minutes: int
    reporting_timezone: str
    columns: tuple[ColumnSpec, ...]
    splits: Mapping[SplitName, tuple[datetime, datetime]]
    sources: tuple[Table, ...]
    default_source: Callable[[], Path]
    build: Callable[[Mapping[str, Checked]], DataFrame]

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that together tell one row from another: the event time and the keys."""
        return tuple(column.name for role in ("event_time", "key") for column in self.columns if column.role == role)

    @property
    def event_time(self) -> str:
        return next(column.name for column in self.columns if column.role == "event_time")


def dtypes_of(schema: StructType) -> dict[str, str]:
    """Column name → the contract's name for its type, or Spark's where the contract has none."""
    names = {type_: dtype for dtype, type_ in SPARK_TYPES.items()}
    return {field.name: names.get(field.dataType, field.dataType.simpleString()) for field in schema.fields}
