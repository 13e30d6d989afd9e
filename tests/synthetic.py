"""A small feature view with a label that can be learnt, for tests that need any view at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_jobs.contract import (
    FILE_NAME,
    CategoricalProfile,
    Column,
    Contract,
    NumericProfile,
    SourceCount,
    Split,
    SplitName,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
BINS = 12


def numeric_profile(values: np.ndarray) -> NumericProfile:
    known = values[~np.isnan(values)].astype(float)
    if not len(known):
        return NumericProfile(count=0, missing=len(values), mean=None, std=None, quantiles=(), histogram=())
    quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1))
    edges = np.unique(quantiles)
    histogram = np.histogram(known, edges)[0] if len(edges) > 1 else []
    return NumericProfile(
        count=len(known),
        missing=len(values) - len(known),
        mean=float(known.mean()),
        std=float(known.std()),
        quantiles=tuple(map(float, quantiles)),
        histogram=tuple(map(int, histogram)),
    )


def categorical_profile(values: list[str | None]) -> CategoricalProfile:
    known = [value for value in values if value is not None]
    return CategoricalProfile(
        count=len(known),
        missing=len(values) - len(known),
        frequencies={name: known.count(name) for name in sorted(set(known))},
    )


def table(rows: int, seed: int = 0) -> pa.Table:
    """One row an hour from :data:`START`: ``shop`` and ``size`` decide ``returned``, with noise."""
    random = np.random.default_rng(seed)
    size = random.normal(10, 3, rows).astype(np.float32)
    age = np.where(random.random(rows) < 0.2, np.nan, random.uniform(0, 50, rows)).astype(np.float32)
    shop = random.choice(["north", "south", "east"], rows, p=[0.5, 0.4, 0.1])
    logit = (size - 10) / 2 + np.where(shop == "north", 1.0, -1.0) + np.nan_to_num(age - 25) / 50
    returned = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int32)
    return pa.table(
        {
            "order_id": [f"order-{i}" for i in range(rows)],
            "ordered_at": pa.array([START + timedelta(hours=i) for i in range(rows)], pa.timestamp("us", tz="UTC")),
            "size": pa.array(size),
            "age": pa.array(age, from_pandas=True),
            "shop": pa.array([None if i % 50 == 7 else str(name) for i, name in enumerate(shop)]),
            "returned": pa.array(returned),
        }
    )


def contract_for(data: pa.Table, features: tuple[str, ...] = ("size", "age", "shop")) -> Contract:
    """The contract of :func:`table`, split 70 : 15 : 15 by time."""
    rows = data.num_rows
    cuts = [0, rows * 70 // 100, rows * 85 // 100, rows]
    names: tuple[SplitName, ...] = ("train", "validation", "test")
    splits = {
        name: Split(
            start=START + timedelta(hours=cuts[i]), end=START + timedelta(hours=cuts[i + 1]), rows=cuts[i + 1] - cuts[i]
        )
        for i, name in enumerate(names)
    }
    train = data.slice(0, cuts[1])
    columns = [
        Column(name="order_id", dtype="string", role="key", description="the order"),
        Column(name="ordered_at", dtype="timestamp", role="event_time", description="when it was made"),
    ]
    for name in ("size", "age"):
        profile = numeric_profile(train[name].to_numpy().astype(float))
        columns.append(
            Column(
                name=name, dtype="float32", role="feature", description=name, nullable=name == "age", profile=profile
            )
            if name in features
            else Column(name=name, dtype="float32", role="attribute", description=name, nullable=name == "age")
        )
    columns.append(
        Column(
            name="shop",
            dtype="string",
            role="feature",
            description="shop",
            nullable=True,
            profile=categorical_profile(train["shop"].to_pylist()),
        )
        if "shop" in features
        else Column(name="shop", dtype="string", role="attribute", description="shop", nullable=True)
    )
    columns.append(Column(name="returned", dtype="int32", role="label", description="whether it came back"))
    return Contract(
        view="orders",
        grain="an order",
        prediction_lead_minutes=0,
        reporting_timezone="Europe/Madrid",
        columns=tuple(columns),
        splits=splits,
        sources=(SourceCount(table="orders", read=rows, kept=rows, quarantined={}),),
    )


def write_view(folder: Path, rows: int = 4000, features: tuple[str, ...] = ("size", "age", "shop")) -> Contract:
    data = table(rows)
    contract = contract_for(data, features)
    (folder / "view").mkdir(parents=True)
    pq.write_table(data, folder / "view" / "part-0.parquet")
    (folder / FILE_NAME).write_text(contract.to_json())
    return contract
