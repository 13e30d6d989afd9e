"""How each feature is distributed over the training split.

One pass over the rows counts each distinct value of each feature; all else is computed from those
counts, which are few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from spark_jobs.contract import CategoricalProfile, NumericProfile

STEPS = 12
"""Bins between the quantiles of a numeric feature."""

SIGNIFICANT_DIGITS = 9
"""Of a mean and a deviation. Spark adds up in no fixed order: the last digits of a sum differ from run to run."""


def numeric_profiles(train: DataFrame, names: Sequence[str], rows: int) -> dict[str, NumericProfile]:
    """Profile the numeric columns ``names`` of ``train``, which has ``rows`` rows.

    Quantiles are exact, and not rounded: they are the edges of the bins, and the least and the
    greatest value must stay inside.
    """
    if not names:
        return {}
    # counts: one row per feature and distinct value
    counts = (
        train.select(*(sf.col(name).cast("double") for name in names))
        .unpivot([], list(names), "feature", "value")
        .where(sf.col("value").isNotNull())
        .groupBy("feature", "value")
        .agg(sf.count("*").alias("rows"))
        .cache()
    )
    steps = sf.array(*(sf.lit(step / STEPS) for step in range(STEPS + 1)))
    # overall: one row per feature
    overall = counts.groupBy("feature").agg(
        sf.sum("rows").alias("count"),
        (sf.sum(sf.col("value") * sf.col("rows")) / sf.sum("rows")).alias("mean"),
        sf.percentile("value", steps, sf.col("rows")).alias("quantiles"),
    )
    binned = (
        counts.join(sf.broadcast(overall), "feature")
        .withColumn("edges", sf.array_distinct("quantiles"))
        .withColumn("above", sf.size(sf.filter("edges", lambda edge: edge <= sf.col("value"))))
        # The last bin is closed: the greatest value belongs to it.
        .withColumn("bin", sf.greatest(sf.least(sf.col("above"), sf.size("edges") - 1) - 1, sf.lit(0)))
        .groupBy("feature", "bin")
        .agg(
            sf.first("count").alias("count"),
            sf.first("mean").alias("mean"),
            sf.first("quantiles").alias("quantiles"),
            sf.sum("rows").alias("rows"),
            sf.sum(sf.col("rows") * sf.pow(sf.col("value") - sf.col("mean"), 2)).alias("squares"),
        )
    )
    found = defaultdict(list)
    for row in binned.collect():
        found[row["feature"]].append(row)
    counts.unpersist()
    profiles = {}
    for name in names:
        bins = found[name]
        if not bins:
            profiles[name] = NumericProfile(count=0, missing=rows, mean=None, std=None, quantiles=(), histogram=())
            continue
        count, quantiles = bins[0]["count"], tuple(bins[0]["quantiles"])
        histogram = [0] * (len(set(quantiles)) - 1)
        for row in bins:
            if histogram:
                histogram[row["bin"]] = row["rows"]
        profiles[name] = NumericProfile(
            count=count,
            missing=rows - count,
            mean=rounded(bins[0]["mean"]),
            std=rounded((sum(row["squares"] for row in bins) / count) ** 0.5),
            quantiles=quantiles,
            histogram=tuple(histogram),
        )
    return profiles


def categorical_profiles(train: DataFrame, names: Sequence[str], rows: int) -> dict[str, CategoricalProfile]:
    """Profile the string columns ``names`` of ``train``, which has ``rows`` rows."""
    if not names:
        return {}
    counts = (
        train.select(*names)
        .unpivot([], list(names), "feature", "value")
        .where(sf.col("value").isNotNull())
        .groupBy("feature", "value")
        .agg(sf.count("*").alias("rows"))
        .collect()
    )
    frequencies: dict[str, dict[str, int]] = {name: {} for name in names}
    for row in sorted(counts, key=lambda row: (-row["rows"], row["value"])):
        frequencies[row["feature"]][row["value"]] = row["rows"]
    return {
        name: CategoricalProfile(count=sum(found.values()), missing=rows - sum(found.values()), frequencies=found)
        for name, found in frequencies.items()
    }


def rounded(value: float) -> float:
    """``value`` to :data:`SIGNIFICANT_DIGITS` significant digits."""
    return float(f"{value:.{SIGNIFICANT_DIGITS - 1}e}")
