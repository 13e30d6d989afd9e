"""Which rows of the flights view's sources are good, rule by rule, on one small source with a case of each."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.spark_jobs.conftest import MakeView, Output
from tests.integration.spark_jobs.rows import CANCELLED, DIVERTED, airport, flight, plane, weather, write_source

pytestmark = pytest.mark.integration

FLIGHTS = [
    flight(flight="1"),
    # Read as it should be:
    flight(flight="2", dep_time="2400", arr_time="2400", sched_arr_time="0"),
    flight(flight="3", tailnum="NA"),
    flight(flight="4", tailnum=""),
    flight(flight="5", arr_delay="15"),
    flight(flight="6", arr_delay="16"),
    flight(flight="7", dest="SJU", sched_arr_time="1530"),
    flight(flight="8"),
    flight(flight="8"),
    flight(flight="8", origin="JFK"),
    # Refused:
    flight(flight="101") | CANCELLED,
    flight(flight="102") | DIVERTED,
    flight(flight="103") | DIVERTED | {"arr_time": "NA"},
    flight(flight="104", arr_delay="11 min"),
    flight(flight="105", air_time="200.5"),
    flight(flight="106", time_hour="2013-03-04 15:00"),
    flight(flight="107", distance="NA"),
    flight(flight="108", carrier=""),
    flight(flight="109", sched_dep_time="2400"),
    flight(flight="110", sched_arr_time="1075"),
    flight(flight="111", dep_time="2401"),
    flight(flight="112", hour="11", sched_dep_time="1130"),
    flight(flight="113", dest="XXX"),
    flight(flight="114", dest="EEN"),
    flight(flight="115", origin="PHL"),
    flight(flight="116", distance="0"),
    flight(flight="117", air_time="247"),
    flight(flight="118", sched_arr_time="1075", dest="XXX") | CANCELLED,
    # A row that can't be read does not take the place of the good one with its key:
    flight(flight="9", distance="far"),
    flight(flight="9"),
]

HOURS = [weather(f"2013-03-04T{hour:02}:00:00Z") for hour in range(12)]

WEATHER = [
    *HOURS,
    weather("2013-03-04T12:00:00Z", wind_speed="1048.36058"),
    weather("2013-03-04T13:00:00Z", wind_speed="NA"),
    weather("2013-03-04T14:00:00Z", temp="4.0"),
    weather("2013-03-04T15:00:00Z"),
    weather("2013-03-04T16:00:00Z", temp="NaN"),
    weather("2013-03-04T17:00:00Z", temp="1e999"),
    weather("2013-03-04T18:00:00Z", humid="101"),
    weather("2013-03-04T19:00:00Z", temp="NA", dewp="NA", humid="NA"),
    weather("2013-03-04T20:00:00Z"),
    weather("2013-03-04T20:00:00Z"),
    # The only one for hours: there is nothing to hold its temperature against.
    weather("2013-03-05T20:00:00Z", temp="4.0"),
    weather(time_hour="NA"),
]

PLANES = [
    plane(),
    plane("N1", year="NA", seats="NA"),
    plane("N2", year="0"),
    plane("N3", year="2014"),
    plane("N4", seats="0"),
    plane("N5", year="MMX"),
    plane("N6"),
    plane("N6", seats="150"),
    plane("NA"),
]

AIRPORTS = [
    airport(),
    airport("EEN", tzone="NA"),
    airport("LRO", tzone="America/Atlantis"),
    airport("ORD", name="O'Hare, Chicago"),
]


@pytest.fixture(scope="module")
def made(make_view: MakeView, tmp_path_factory: pytest.TempPathFactory) -> Output:
    source = write_source(tmp_path_factory.mktemp("source"), FLIGHTS, WEATHER, PLANES, AIRPORTS)
    with (source / "planes.csv").open("a") as file:
        file.write("N7,1999\n")
    return make_view(source)


def numbers(made: Output, rule: str) -> list[str]:
    return sorted(row["flight"] for row in made.quarantined("flights", rule))


@pytest.mark.parametrize(
    ("rule", "flights"),
    [
        ("well-formed", ["104", "105", "106", "9"]),
        ("complete", ["107", "108"]),
        ("key-unique", ["8"]),
        ("origin-known", ["115"]),
        ("destination-known", ["113", "114", "118"]),
        ("scheduled-times-valid", ["109", "110"]),
        ("clocks-agree", ["112"]),
        ("distance-possible", ["116"]),
        ("recorded-times-valid", ["111"]),
        ("departed", ["101"]),
        ("arrival-recorded", ["102", "103"]),
        ("times-agree", ["117"]),
    ],
)
def test_a_flight_is_quarantined_under_the_first_rule_it_breaks(made: Output, rule: str, flights: list[str]) -> None:
    assert numbers(made, rule) == flights


def test_all_other_flights_are_in_the_view(made: Output) -> None:
    assert sorted(made.view.flight_id) == [
        *(f"UA{number}-EWR" for number in range(1, 9)),
        "UA8-JFK",
        "UA9-EWR",
    ]


@pytest.mark.parametrize(
    ("rule", "hours"),
    [
        ("well-formed", ["2013-03-04T16:00:00Z", "2013-03-04T17:00:00Z"]),
        ("complete", ["NA"]),
        ("key-unique", ["2013-03-04T20:00:00Z"]),
        ("wind-speed-possible", ["2013-03-04T12:00:00Z"]),
        ("temperature-continuous", ["2013-03-04T14:00:00Z"]),
        ("measurements-possible", ["2013-03-04T18:00:00Z"]),
    ],
)
def test_an_hour_of_weather_is_quarantined_under_the_first_rule_it_breaks(
    made: Output, rule: str, hours: list[str]
) -> None:
    assert sorted(row["time_hour"] for row in made.quarantined("weather", rule)) == hours


def test_the_hours_about_a_bad_temperature_are_kept(made: Output) -> None:
    kept = next(source for source in made.contract.sources if source.table == "weather").kept
    assert kept == len(HOURS) + len(["13", "15", "19", "20", "20 a day later"])


def test_a_plane_may_be_of_unknown_age_but_not_of_an_impossible_one(made: Output) -> None:
    assert made.counts("planes") == {
        "well-formed": 2,
        "complete": 1,
        "key-unique": 1,
        "year-possible": 2,
        "seats-possible": 1,
    }


def test_a_line_with_values_missing_is_quarantined_with_its_text(made: Output) -> None:
    assert "N7,1999" in [row.get("_corrupt_record") for row in made.quarantined("planes", "well-formed")]


def test_an_airport_needs_a_time_zone_that_exists(made: Output) -> None:
    assert [row["faa"] for row in made.quarantined("airports", "timezone-known")] == ["EEN", "LRO"]


def test_the_quarantine_shows_the_row_as_the_file_has_it(made: Output) -> None:
    [row] = made.quarantined("flights", "departed")
    assert row == flight(flight="101") | CANCELLED


def test_every_row_read_is_kept_or_quarantined(made: Output) -> None:
    read = {"flights": len(FLIGHTS), "weather": len(WEATHER), "planes": len(PLANES) + 1, "airports": len(AIRPORTS)}
    stored = Counter(made.quarantine.table)
    for source in made.contract.sources:
        assert source.read == read[source.table]
        assert sum(source.quarantined.values()) == stored[source.table]
        assert source.kept == source.read - stored[source.table]


def test_rules_that_stopped_no_row_are_counted_too(made: Output) -> None:
    airports = next(source for source in made.contract.sources if source.table == "airports")
    assert airports.quarantined == {"well-formed": 0, "complete": 0, "key-unique": 0, "timezone-known": 2}


def test_a_flight_is_late_from_the_sixteenth_minute_on(made: Output) -> None:
    late = made.view.set_index("flight_id").late
    assert late["UA5-EWR"] == 0
    assert late["UA6-EWR"] == 1


def test_a_missing_tail_number_is_null_however_it_is_written(made: Output) -> None:
    tails = made.view.set_index("flight_id").tail_number
    assert tails[["UA3-EWR", "UA4-EWR"]].isna().all()


def test_a_territory_that_the_airports_lack_has_its_time_zone(made: Output) -> None:
    # 10:30 in New York in winter is 11:30 in San Juan, where it lands at 15:30.
    assert made.view.set_index("flight_id").block_minutes["UA7-EWR"] == 240
