"""What the views declare, and what importing them costs."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import spark_jobs
from spark_jobs.contract import SplitName
from spark_jobs.errors import ViewUnknown
from spark_jobs.views import VIEWS, load_view

PACKAGE = Path(spark_jobs.__file__).parent


@pytest.mark.parametrize("module", ["spark_jobs", "spark_jobs.contract", "spark_jobs.views", "spark_jobs.__main__"])
def test_whoever_reads_a_contract_or_asks_for_help_does_not_pay_for_spark(module: str) -> None:
    program = f"import sys, {module}; print([name for name in ('pyspark', 'pandas') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_registered_under_its_own_name(name: str) -> None:
    assert load_view(name).name == name


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ViewUnknown, match="'trains'; there is flights"):
        load_view("trains")


def test_nothing_but_the_view_itself_knows_the_example() -> None:
    engine = [file for file in PACKAGE.glob("*.py") if re.search("flight|weather|nyc", file.read_text())]
    assert engine == []


@pytest.mark.parametrize("name", VIEWS)
def test_a_column_has_one_name_one_description_and_its_bounds_the_right_way_round(name: str) -> None:
    columns = load_view(name).columns
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.description
        if column.is_numeric:
            assert column.unit
            assert column.group
        if column.minimum is not None and column.maximum is not None:
            assert column.minimum < column.maximum


@pytest.mark.parametrize(
    ("split", "first", "end"),
    [
        ("train", (2013, 1, 1), (2013, 10, 1)),
        ("validation", (2013, 10, 1), (2013, 11, 1)),
        ("test", (2013, 11, 1), (2014, 1, 1)),
    ],
)
def test_the_flights_are_split_at_midnights_in_new_york(
    split: SplitName, first: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    view = load_view("flights")
    new_york = ZoneInfo(view.reporting_timezone)
    assert view.splits[split] == (datetime(*first, tzinfo=new_york), datetime(*end, tzinfo=new_york))


def test_the_calendar_of_a_single_year_is_no_feature() -> None:
    names = {column.name for column in load_view("flights").columns if column.role == "feature"}
    assert not names & {"month", "year", "day_of_year", "week"}
