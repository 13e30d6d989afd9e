"""Nothing of the future is in a feature, and neither the machine's clock nor the order of rows is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spark_jobs.views.flights import VIEW
from tests.integration.spark_jobs.conftest import MakeView, Output, run_command

pytestmark = pytest.mark.integration

DAYS = 8
CUT = pd.Timestamp("2013-01-05T15:20Z")
"""What happens from here on is the future."""

LEAD = pd.Timedelta(hours=2)
MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
RECORDED = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]

Tables = dict[str, pd.DataFrame]


def instants(table: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    return pd.to_datetime(table.time_hour, utc=True)


@pytest.fixture(scope="module")
def week(
    real_flights: pd.DataFrame, real_weather: pd.DataFrame, real_planes: pd.DataFrame, real_airports: pd.DataFrame
) -> Tables:
    """The first days of the real data."""
    end = pd.Timestamp("2013-01-01T05:00Z") + pd.Timedelta(days=DAYS)
    return {
        "flights": real_flights[instants(real_flights) < end],
        "weather": real_weather[instants(real_weather) < end],
        "planes": real_planes,
        "airports": real_airports,
    }


def save(tables: Tables, folder: Path) -> Path:
    folder.mkdir()
    for name, table in tables.items():
        # Counts stay whole numbers, though their column has missing values too.
        table.convert_dtypes().to_csv(folder / f"{name}.csv", index=False, na_rep="NA")
    return folder


@pytest.fixture(scope="module")
def source(week: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(week, tmp_path_factory.mktemp("week") / "source")


@pytest.fixture(scope="module")
def made(source: Path, make_view: MakeView) -> Output:
    return make_view(source)


def features(view: pd.DataFrame) -> pd.DataFrame:
    """The features of the flights that were predicted before the cut, by their identity."""
    known = view[view.scheduled_departure - LEAD <= CUT]
    return known.set_index(["scheduled_departure", "flight_id"])[
        [column.name for column in VIEW.columns if column.role == "feature"]
    ]


def test_a_changed_future_changes_no_feature(week: Tables, made: Output, make_view: MakeView, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    flights, weather = week["flights"].copy(), week["weather"].copy()

    # An hour of weather is known when it is over: all later ones are dealt out anew, and made hotter.
    unknown = np.flatnonzero(instants(weather) + pd.Timedelta(hours=1) > CUT)
    weather.iloc[unknown, weather.columns.get_indexer(MEASURED)] = weather[MEASURED].iloc[random.permutation(unknown)]
    weather.iloc[unknown, weather.columns.get_indexer(["temp"])] += 40

    # All outcomes are of the future, of flights that left before the cut too: they are dealt out anew.
    outcome = flights.columns.get_indexer(RECORDED)
    flights.iloc[:, outcome] = flights[RECORDED].iloc[random.permutation(len(flights))]
    flights["air_time"] = np.where(flights.arr_delay.isna(), np.nan, 20)

    changed = make_view(save({**week, "flights": flights, "weather": weather}, tmp_path / "source"))
    before, after = features(made.view), features(changed.view)
    both = before.index.intersection(after.index)
    assert len(both) > 3_000
    assert made.view.arrival_delay.sum() != changed.view.arrival_delay.sum()
    pd.testing.assert_frame_equal(before.loc[both], after.loc[both])


def test_the_weather_of_the_past_does_change_a_feature(
    week: Tables, made: Output, make_view: MakeView, tmp_path: Path
) -> None:
    weather = week["weather"].assign(pressure=1_000)
    changed = make_view(save({**week, "weather": weather}, tmp_path / "source"))
    assert not features(changed.view).pressure.equals(features(made.view).pressure)


def test_rows_in_another_order_make_the_same_view_and_contract(
    week: Tables, made: Output, make_view: MakeView, tmp_path: Path
) -> None:
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in week.items()}
    changed = make_view(save(shuffled, tmp_path / "source"))
    pd.testing.assert_frame_equal(changed.view, made.view)
    assert changed.contract.digest == made.contract.digest
    pd.testing.assert_frame_equal(changed.quarantine, made.quarantine)


def test_a_machine_in_another_time_zone_makes_the_same_view_and_contract(
    source: Path, made: Output, tmp_path: Path
) -> None:
    found = run_command("flights", "--source", str(source), "--out", str(tmp_path / "out"), TZ="Asia/Tokyo")
    assert found.returncode == 0, found.stderr
    in_tokyo = Output(tmp_path / "out")
    pd.testing.assert_frame_equal(in_tokyo.view, made.view)
    assert in_tokyo.contract.digest == made.contract.digest
