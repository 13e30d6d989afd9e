"""What every view gets from the job, on a view of its own: no flight is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from spark_jobs.contract import CategoricalProfile, NumericProfile
from spark_jobs.errors import ViewBroken
from spark_jobs.profile import categorical_profiles, numeric_profiles, rounded
from spark_jobs.quality import Checked, Rule, key_unique
from spark_jobs.tables import Field, Table
from spark_jobs.views.view import ColumnSpec, FeatureView
from tests.integration.spark_jobs.conftest import MakeView

pytestmark = pytest.mark.integration


def reading_rules() -> tuple[Rule, ...]:
    return (
        key_unique("meter", "at"),
        Rule("load-positive", "the load is more than nothing", sf.col("load") > 0, null_passes=True),
    )


READINGS = Table(
    name="readings",
    fields=(
        Field("meter", "string", required=True),
        Field("at", "instant", required=True),
        Field("load", "double"),
        Field("failed", "int", required=True),
    ),
    rules=reading_rules,
)


def build(tables: Mapping[str, Checked]) -> DataFrame:
    return tables["readings"].kept.select("meter", "at", sf.col("load").cast("float"), "failed")


METERS = FeatureView(
    name="meters",
    grain="one reading of one meter",
    prediction_lead_minutes=0,
    reporting_timezone="UTC",
    columns=(
        ColumnSpec("meter", "string", "key", "which"),
        ColumnSpec("at", "timestamp", "event_time", "when"),
        ColumnSpec("load", "float32", "feature", "how much", nullable=True, unit="A", minimum=0, maximum=100),
        ColumnSpec("failed", "int32", "label", "whether it failed afterwards", minimum=0, maximum=1),
    ),
    splits={
        "train": (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)),
        "validation": (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)),
        "test": (datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC)),
    },
    sources=(READINGS,),
    default_source=Path,
    build=build,
)

CSV = """failed,load,at,meter,remark
0,1.5,2024-01-01T00:00:00Z,a,
1,NA,2024-01-01T23:59:59Z,a,"two, quoted"
0,.25,2024-01-02T01:00:00+01:00,b,
1,-1,2024-01-02T12:00:00Z,b,
0,3,2024-01-03T12:00:00Z,c,
0,3,2024-01-04T00:00:00Z,c,
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text(CSV)
    return tmp_path


def test_a_view_of_anything_is_made_from_what_it_declares(source: Path, make_view: MakeView) -> None:
    made = make_view(source, METERS)
    assert made.view.meter.tolist() == ["a", "a", "b", "c", "c"]
    assert made.counts("readings") == {"load-positive": 1}
    # At the end of one split the next one starts; what is after the last one is in the view alone.
    assert {name: split.rows for name, split in made.contract.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    assert made.contract.features[0].profile == NumericProfile(
        count=1, missing=1, mean=1.5, std=0.0, quantiles=(1.5,) * 13, histogram=()
    )


def test_a_source_without_rows_makes_a_view_without_rows(tmp_path: Path, make_view: MakeView) -> None:
    (tmp_path / "readings.csv").write_text("failed,load,at,meter\n")
    made = make_view(tmp_path, METERS)
    assert len(made.view) == len(made.quarantine) == 0
    assert list(made.view.columns) == ["meter", "at", "load", "failed"]
    assert list(made.quarantine.columns) == ["table", "rule", "row"]


def doubled(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).union(build(tables))


def too_much(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).withColumn("load", sf.lit(100.5).cast("float"))


def not_a_number(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).withColumn("load", sf.lit(float("nan")).cast("float"))


def without_label(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).withColumn("failed", sf.lit(None).cast("int"))


def as_double(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).withColumn("load", sf.col("load").cast("double"))


def lacking(tables: Mapping[str, Checked]) -> DataFrame:
    return build(tables).drop("failed")


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (doubled, "5 groups of rows with the same at, meter"),
        (too_much, "5 rows where load is above 100"),
        (not_a_number, "5 rows where load is NaN"),
        (without_label, "5 rows where failed is missing"),
        (as_double, "is ('load', 'float64'), declared ('load', 'float32')"),
        (lacking, "was built with 3 columns, declared 4"),
    ],
)
def test_rows_that_are_not_what_the_view_declares_are_not_published(
    source: Path, make_view: MakeView, broken: object, complaint: str
) -> None:
    with pytest.raises(ViewBroken) as refused:
        make_view(source, replace(METERS, build=broken))
    assert complaint in str(refused.value)


def losing(rows: DataFrame, _earlier: Mapping[str, DataFrame]) -> DataFrame:
    return rows.where("failed = 0")


def test_rows_lost_between_the_file_and_the_rules_are_noticed(source: Path, make_view: MakeView) -> None:
    with pytest.raises(ValueError, match="readings: 6 rows read, but"):
        make_view(source, replace(METERS, sources=(replace(READINGS, derive=losing),)))


def test_a_rule_has_a_name_in_kebab_case(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="kebab-case, not 'Load_Positive'"):
        Rule("Load_Positive", "", sf.lit(True), null_passes=True)


@pytest.mark.parametrize(("null_passes", "kept"), [(True, [1, None]), (False, [1])])
def test_whether_an_unknown_passes_is_for_the_rule_to_say(
    spark: SparkSession, null_passes: bool, kept: list[int | None]
) -> None:
    rows = spark.sql("SELECT * FROM VALUES (1), (-1), (NULL) AS t(x)")
    rule = Rule("positive", "above zero", sf.col("x") > 0, null_passes=null_passes)
    assert [row.x for row in rows.where(~rule.broken).collect()] == kept


def test_a_numeric_profile_counts_missing_values_apart(spark: SparkSession) -> None:
    values = [None, *(float(number) for number in np.random.default_rng(0).normal(size=200).astype(np.float32))]
    train = spark.createDataFrame([(value, 7.0, None) for value in values], "a double, constant double, none double")
    found = numeric_profiles(train, ["a", "constant", "none"], rows=201)
    known = np.array(values[1:], float)
    assert (found["a"].count, found["a"].missing) == (200, 1)
    assert found["a"].quantiles == pytest.approx(np.quantile(known, np.linspace(0, 1, 13)))
    assert found["a"].histogram == tuple(np.histogram(known, found["a"].edges)[0])
    assert found["constant"].edges == (7.0,)
    assert found["constant"].histogram == ()
    assert found["none"] == NumericProfile(count=0, missing=201, mean=None, std=None, quantiles=(), histogram=())


def test_a_categorical_profile_has_the_most_frequent_first_and_equals_in_alphabetical_order(
    spark: SparkSession,
) -> None:
    train = spark.createDataFrame([("b",), ("a",), ("c",), ("c",), (None,)], "kind string")
    found = categorical_profiles(train, ["kind"], rows=5)["kind"]
    assert found == CategoricalProfile(count=4, missing=1, frequencies={"c": 2, "a": 1, "b": 1})
    assert list(found.frequencies) == ["c", "a", "b"]


def test_a_mean_is_rounded_so_that_the_order_of_a_sum_does_not_show() -> None:
    assert rounded(0.1 + 0.2) == rounded(0.3) == 0.3
    assert rounded(123456789.04) == 123456789.0
