"""Will this flight arrive more than 15 minutes late? Asked two hours before it is to leave."""

from __future__ import annotations

from datetime import UTC, datetime

from spark_jobs.views.flights.features import LATE_AFTER_MINUTES, OLDEST_PLANE_YEARS, PREDICTION_LEAD_MINUTES, build
from spark_jobs.views.flights.sources import (
    AIRPORTS,
    FASTEST_WIND_MPH,
    FLIGHTS,
    NEW_YORK,
    PLANES,
    WEATHER,
    installed_folder,
)
from spark_jobs.views.view import ColumnSpec, FeatureView


def number(
    group: str,
    name: str,
    description: str,
    unit: str,
    minimum: float | None = None,
    maximum: float | None = None,
    nullable: bool = False,
) -> ColumnSpec:
    return ColumnSpec(name, "float32", "feature", description, nullable, unit, group, minimum, maximum)


def category(group: str, name: str, description: str, nullable: bool = False) -> ColumnSpec:
    return ColumnSpec(name, "string", "feature", description, nullable, group=group)


def measured(name: str, description: str, unit: str, minimum: float, maximum: float) -> ColumnSpec:
    return number("weather", name, description, unit, minimum, maximum, nullable=True)


COLUMNS = (
    ColumnSpec("flight_id", "string", "key", "carrier and flight number, and the airport it leaves from: UA1545-EWR"),
    ColumnSpec("scheduled_departure", "timestamp", "event_time", "when the flight is to leave its gate"),
    ColumnSpec("tail_number", "string", "attribute", "the plane's registration", nullable=True),
    ColumnSpec(
        "arrival_delay", "int32", "attribute", "arrival after the scheduled one; below 0 is early", unit="minutes"
    ),
    ColumnSpec(
        "late", "int32", "label", f"1 if it arrived more than {LATE_AFTER_MINUTES} minutes late", minimum=0, maximum=1
    ),
    category("schedule", "carrier", "the airline, a code of two characters"),
    category("schedule", "origin", "the airport it leaves from, a code of three letters"),
    category("schedule", "destination", "the airport it flies to, a code of three letters"),
    number("schedule", "distance", "from origin to destination", "miles", minimum=1),
    number("schedule", "block_minutes", "scheduled time from gate to gate", "minutes", 0, 1439),
    number(
        "schedule", "departure_minute", "scheduled departure on New York's clocks", "minutes after midnight", 0, 1439
    ),
    number("schedule", "day_of_week", "day of the scheduled departure in New York", "days after Monday", 0, 6),
    number(
        "schedule", "departures_in_hour", "scheduled at its origin in its clock hour, itself included", "flights", 1
    ),
    number("schedule", "carrier_departures_in_hour", "those of them that are of its carrier", "flights", 1),
    number("schedule", "departures_in_day", "scheduled at its origin on its day, itself included", "flights", 1),
    number("plane", "plane_age", "since the year it was built", "years", 0, OLDEST_PLANE_YEARS, nullable=True),
    number("plane", "seats", "seats of the plane", "seats", 1, 900, nullable=True),
    category("plane", "plane_model", "the maker's name of the model", nullable=True),
    category("plane", "engine", "the kind of engine", nullable=True),
    measured("temperature", "of the air", "°F", -60, 130),
    measured("dew_point", "at which the air's water would condense", "°F", -80, 100),
    measured("humidity", "relative humidity", "percent", 0, 100),
    measured("wind_from_sin", "sine of where the wind blows from, clockwise from north", "1", -1, 1),
    measured("wind_from_cos", "cosine of where the wind blows from, clockwise from north", "1", -1, 1),
    measured("wind_speed", "mean speed of the wind", "mph", 0, FASTEST_WIND_MPH),
    measured("wind_gust", "speed of its gusts, 0 where there are none", "mph", 0, 250),
    measured("precipitation", "in the hour", "inches", 0, 20),
    measured("pressure", "at sea level", "mbar", 850, 1100),
    measured("visibility", "as far as can be seen, 10 at the most as recorded", "miles", 0, 100),
)

VIEW = FeatureView(
    name="flights",
    grain="one flight scheduled to leave New York that left, and arrived where it was to go",
    prediction_lead_minutes=PREDICTION_LEAD_MINUTES,
    reporting_timezone=NEW_YORK,
    columns=COLUMNS,
    # Midnights in New York, where summer time began on 10 March and ended on 3 November.
    splits={
        "train": (datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2013, 10, 1, 4, tzinfo=UTC)),
        "validation": (datetime(2013, 10, 1, 4, tzinfo=UTC), datetime(2013, 11, 1, 4, tzinfo=UTC)),
        "test": (datetime(2013, 11, 1, 4, tzinfo=UTC), datetime(2014, 1, 1, 5, tzinfo=UTC)),
    },
    sources=(AIRPORTS, PLANES, WEATHER, FLIGHTS),
    default_source=installed_folder,
    build=build,
)
