"""What each feature of a flight is, on one small source with a case of each."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from tests.integration.spark_jobs.conftest import MakeView
from tests.integration.spark_jobs.rows import CANCELLED, DIVERTED, airport, flight, plane, weather, write_source

pytestmark = pytest.mark.integration

AIRPORTS = [airport(), airport("LAX", tzone="America/Los_Angeles"), airport("BOS", tzone="America/New_York")]

PLANES = [
    plane(),
    plane("NEW", year="2013"),
    plane("OLD", year="1956"),
    plane("BARE", year="NA", seats="NA", model="NA", engine="NA"),
]

# 10:30 in New York is 15:30 UTC in winter. Predicted at 13:30, the last full hour is from 12:00 to 13:00.
WEATHER = [
    weather("2013-03-04T11:00:00Z", temp="41"),
    weather("2013-03-04T12:00:00Z", temp="42", wind_dir="90", precip="0.01", visib="9"),
    weather("2013-03-04T13:00:00Z", temp="43", wind_dir="NA", wind_gust="23.0156", pressure="NA"),
    weather("2013-03-04T14:00:00Z", temp="NA", wind_speed="NA"),
    weather("2013-03-04T12:00:00Z", origin="JFK", temp="50"),
    # The two hours that New York's clocks call 01:00 on 3 November are these; flights look three hours back.
    weather("2013-11-03T02:00:00Z", temp="60"),
    weather("2013-11-03T03:00:00Z", temp="61"),
    weather("2013-12-30T23:00:00Z", temp="30"),
]

FLIGHTS = [
    flight(flight="1"),
    flight("2013-03-04 10:00", flight="2"),
    flight("2013-03-04 10:59", flight="3", carrier="B6"),
    flight("2013-03-04 11:00", flight="4"),
    flight("2013-03-04 12:15", flight="5"),
    flight("2013-03-04 10:30", flight="6", origin="JFK"),
    flight("2013-03-04 10:45", flight="7") | CANCELLED,
    flight("2013-03-04 10:45", flight="8", carrier="B6") | DIVERTED,
    flight("2013-03-04 10:45", flight="9", carrier="B6") | {"dest": "XXX"},
    flight("2013-03-04 23:30", flight="10", dest="BOS", sched_arr_time="45", air_time="40"),
    flight("2013-03-05 00:10", flight="11", dest="LAX", sched_arr_time="320"),
    flight("2013-11-03 01:30", flight="12", air_time="150"),
    flight("2013-11-03 01:30", fold=1, flight="13", air_time="150"),
    flight("2013-12-31 10:30", flight="14"),
    flight("2013-12-30 21:59", flight="15"),
    flight("2013-06-02 10:30", flight="16", tailnum="NEW"),
    flight("2013-06-02 10:30", flight="17", tailnum="OLD"),
    flight("2013-06-02 10:30", flight="18", tailnum="BARE"),
    flight("2013-06-02 10:30", flight="19", tailnum="N12345"),
    flight("2013-06-02 10:30", flight="20", tailnum="NA"),
]


@pytest.fixture(scope="module")
def rows(make_view: MakeView, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The view by flight number."""
    made = make_view(write_source(tmp_path_factory.mktemp("source"), FLIGHTS, WEATHER, PLANES, AIRPORTS))
    view = made.view
    return view.set_index(view.flight_id.str.extract(r"^..(\d+)-", expand=False).astype(int))


def test_a_departure_is_an_instant(rows: pd.DataFrame) -> None:
    assert rows.scheduled_departure[1] == pd.Timestamp("2013-03-04T15:30Z")
    assert rows.scheduled_departure[16] == pd.Timestamp("2013-06-02T14:30Z")


def test_the_local_hour_that_comes_twice_is_two_instants(rows: pd.DataFrame) -> None:
    assert rows.scheduled_departure[12] == pd.Timestamp("2013-11-03T05:30Z")
    assert rows.scheduled_departure[13] == pd.Timestamp("2013-11-03T06:30Z")
    assert rows.departure_minute[12] == rows.departure_minute[13] == 90


def test_the_local_hour_that_comes_twice_has_two_weathers(rows: pd.DataFrame) -> None:
    assert rows.temperature[12] == 60
    assert rows.temperature[13] == 61


def test_the_block_is_measured_on_the_clock_of_the_destination(rows: pd.DataFrame) -> None:
    assert rows.block_minutes[1] == 240


def test_a_block_may_go_past_midnight(rows: pd.DataFrame) -> None:
    assert rows.block_minutes[10] == 75
    # It leaves at 00:10 in New York, when it is 21:10 of the day before in Los Angeles.
    assert rows.block_minutes[11] == 370


def test_the_time_of_day_and_the_day_of_the_week_are_new_yorks(rows: pd.DataFrame) -> None:
    assert rows.departure_minute[10] == 23 * 60 + 30
    assert rows.day_of_week[10] == 0
    assert rows.departure_minute[11] == 10
    assert rows.day_of_week[11] == 1
    assert rows.day_of_week[16] == 6


def test_an_hour_of_departures_is_a_clock_hour_at_one_airport(rows: pd.DataFrame) -> None:
    # 1, 2, 3 and, though they never arrived, 7 and 8; not 6, which leaves from elsewhere.
    assert (rows.departures_in_hour[[1, 2, 3]] == 5).all()
    assert rows.departures_in_hour[4] == 1
    assert rows.departures_in_hour[6] == 1


def test_a_flight_that_will_be_cancelled_or_diverted_is_in_the_schedule_all_the_same(rows: pd.DataFrame) -> None:
    assert rows.carrier_departures_in_hour[1] == 3
    assert rows.carrier_departures_in_hour[3] == 2
    assert 7 not in rows.index
    assert 8 not in rows.index


def test_a_day_of_departures_is_a_day_in_new_york(rows: pd.DataFrame) -> None:
    assert rows.departures_in_day[10] == 8
    assert rows.departures_in_day[11] == 1


def test_the_weather_is_that_of_the_last_full_hour_before_the_prediction(rows: pd.DataFrame) -> None:
    assert rows.temperature[1] == 42
    assert rows.temperature[2] == 42
    assert rows.temperature[3] == 42
    assert rows.temperature[4] == 43
    assert rows.temperature[6] == 50


def test_the_wind_is_where_it_blows_from_on_a_circle(rows: pd.DataFrame) -> None:
    assert rows.wind_from_sin[1] == 1
    assert rows.wind_from_cos[1] == pytest.approx(0, abs=1e-7)


def test_a_variable_wind_blows_from_nowhere(rows: pd.DataFrame) -> None:
    assert math.isnan(rows.wind_from_sin[4])
    assert math.isnan(rows.wind_from_cos[4])
    assert rows.wind_speed[4] == pytest.approx(10.35702)


def test_no_gust_recorded_is_no_gust(rows: pd.DataFrame) -> None:
    assert rows.wind_gust[1] == 0
    assert rows.wind_gust[4] == pytest.approx(23.0156)


def test_a_measurement_that_is_missing_stays_missing(rows: pd.DataFrame) -> None:
    assert math.isnan(rows.pressure[4])
    assert math.isnan(rows.temperature[5])
    assert math.isnan(rows.wind_speed[5])
    assert rows.humidity[5] == pytest.approx(59.37)


def test_after_the_last_weather_there_is_none_at_all(rows: pd.DataFrame) -> None:
    measured = ["temperature", "dew_point", "humidity", "wind_from_sin", "wind_from_cos", "wind_speed", "wind_gust"]
    measured += ["precipitation", "pressure", "visibility"]
    assert rows.loc[14, measured].isna().all()
    assert rows.temperature[15] == 30


@pytest.mark.parametrize(("number", "age"), [(1, 14), (16, 0), (17, 50)])
def test_a_plane_ages_by_the_year_up_to_fifty(rows: pd.DataFrame, number: int, age: int) -> None:
    assert rows.plane_age[number] == age


@pytest.mark.parametrize("number", [18, 19, 20])
def test_of_an_unknown_plane_nothing_is_known(rows: pd.DataFrame, number: int) -> None:
    assert rows.loc[number, ["plane_age", "seats", "plane_model", "engine"]].isna().all()


def test_a_known_plane_has_its_seats_and_its_model(rows: pd.DataFrame) -> None:
    assert rows.seats[1] == 149
    assert rows.plane_model[1] == "737-824"
    assert rows.engine[1] == "Turbo-fan"
