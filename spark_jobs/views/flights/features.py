"""Source rows → features. Each step keeps one row per flight and adds columns to it.

Nothing here looks past the prediction time: the schedule and the plane are known days ahead, and
the weather is the last full hour's before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from spark_jobs.quality import Checked
from spark_jobs.views.flights.sources import FIRST_OUTCOME_RULE, HOUR_SECONDS, NEW_YORK

PREDICTION_LEAD_MINUTES = 120
LATE_AFTER_MINUTES = 15
OLDEST_PLANE_YEARS = 50


def build(tables: Mapping[str, Checked]) -> DataFrame:
    """One row per flight that has an outcome, with the columns of the view."""
    flights = tables["flights"]
    return (
        flights.kept.transform(with_local_time)
        .transform(partial(with_departure_counts, scheduled=flights.kept_before(FIRST_OUTCOME_RULE)))
        .transform(partial(with_plane, planes=tables["planes"].kept))
        .transform(partial(with_weather, weather=tables["weather"].kept))
        .transform(select_view)
    )


def with_local_time(flights: DataFrame) -> DataFrame:
    """Add ``local``: what New York's clocks show at the scheduled departure."""
    return flights.withColumn("local", sf.from_utc_timestamp("scheduled_departure", NEW_YORK))


def with_departure_counts(flights: DataFrame, scheduled: DataFrame) -> DataFrame:
    """Add how many flights are scheduled to leave the same airport in the same hour and on the same day.

    ``scheduled`` has one row per flight that was to leave, those that were cancelled later among
    them: the schedule is known in advance, and the cancellations are not.
    """
    day = sf.to_date("local").alias("local_day")
    scheduled = scheduled.transform(with_local_time)
    in_hour = scheduled.groupBy("origin", "time_hour").agg(sf.count("*").alias("departures_in_hour"))
    by_carrier = scheduled.groupBy("origin", "time_hour", "carrier").agg(
        sf.count("*").alias("carrier_departures_in_hour")
    )
    in_day = scheduled.groupBy("origin", day).agg(sf.count("*").alias("departures_in_day"))
    return (
        flights.withColumn("local_day", sf.to_date("local"))
        .join(sf.broadcast(in_hour), ["origin", "time_hour"], "left")
        .join(sf.broadcast(by_carrier), ["origin", "time_hour", "carrier"], "left")
        .join(sf.broadcast(in_day), ["origin", "local_day"], "left")
    )


def with_plane(flights: DataFrame, planes: DataFrame) -> DataFrame:
    """Add the plane's age, seats, model and engine, all NULL for a plane that the table lacks."""
    known = planes.select(
        "tailnum",
        sf.col("year").alias("built"),
        "seats",
        sf.col("model").alias("plane_model"),
        "engine",
    )
    age = sf.year("local") - sf.col("built")
    return flights.join(sf.broadcast(known), "tailnum", "left").withColumn(
        # LEAST and GREATEST pass over a NULL: an unknown age would become a new plane's.
        "plane_age",
        sf.when(age.isNotNull(), sf.least(sf.greatest(age, sf.lit(0)), sf.lit(OLDEST_PLANE_YEARS))),
    )


def with_weather(flights: DataFrame, weather: DataFrame) -> DataFrame:
    """Add the weather of the last full hour before the prediction, at the airport the flight leaves from.

    The observation of an hour is known when that hour is over, so the one before the hour of the
    prediction is the last. All is NULL where its row is missing.
    """
    prediction = sf.unix_timestamp("scheduled_departure") - PREDICTION_LEAD_MINUTES * 60
    this_hour = prediction - prediction % HOUR_SECONDS
    direction = sf.radians("wind_dir")
    observed = weather.select(
        "origin",
        sf.col("time_hour").alias("weather_hour"),
        sf.col("temp").alias("temperature"),
        sf.col("dewp").alias("dew_point"),
        sf.col("humid").alias("humidity"),
        sf.sin(direction).alias("wind_from_sin"),
        sf.cos(direction).alias("wind_from_cos"),
        "wind_speed",
        # A station reports gusts when there are any.
        sf.coalesce("wind_gust", sf.lit(0.0)).alias("wind_gust"),
        sf.col("precip").alias("precipitation"),
        "pressure",
        sf.col("visib").alias("visibility"),
    )
    return flights.withColumn("weather_hour", sf.timestamp_seconds(this_hour - HOUR_SECONDS)).join(
        sf.broadcast(observed), ["origin", "weather_hour"], "left"
    )


def select_view(flights: DataFrame) -> DataFrame:
    """Choose, name and type the columns of the view, in its order."""
    return flights.select(
        sf.concat(sf.col("carrier"), sf.col("flight").cast("string"), sf.lit("-"), sf.col("origin")).alias("flight_id"),
        "scheduled_departure",
        sf.col("tailnum").alias("tail_number"),
        sf.col("arr_delay").alias("arrival_delay"),
        (sf.col("arr_delay") > LATE_AFTER_MINUTES).cast("int").alias("late"),
        "carrier",
        "origin",
        sf.col("dest").alias("destination"),
        sf.col("distance").cast("float"),
        sf.col("block_minutes").cast("float"),
        (sf.hour("local") * 60 + sf.minute("local")).cast("float").alias("departure_minute"),
        sf.weekday("local").cast("float").alias("day_of_week"),
        sf.col("departures_in_hour").cast("float"),
        sf.col("carrier_departures_in_hour").cast("float"),
        sf.col("departures_in_day").cast("float"),
        sf.col("plane_age").cast("float"),
        sf.col("seats").cast("float"),
        "plane_model",
        "engine",
        sf.col("temperature").cast("float"),
        sf.col("dew_point").cast("float"),
        sf.col("humidity").cast("float"),
        sf.col("wind_from_sin").cast("float"),
        sf.col("wind_from_cos").cast("float"),
        sf.col("wind_speed").cast("float"),
        sf.col("wind_gust").cast("float"),
        sf.col("precipitation").cast("float"),
        sf.col("pressure").cast("float"),
        sf.col("visibility").cast("float"),
    )
