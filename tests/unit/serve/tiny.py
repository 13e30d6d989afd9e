"""A small real model: an ONNX graph with string and float inputs, and the contract it keeps to."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from spark_jobs.contract import (
    CategoricalProfile,
    Column,
    Contract,
    NumericProfile,
    SourceCount,
    Split,
)

NAME = "parcels"
HEIGHTS = {"south": 0.5, "north": -0.5}
FEATURES = ("zone", "depot", "weight", "hour")


def contract() -> Contract:
    numbers = NumericProfile(count=2, missing=0, mean=1.0, std=1.0, quantiles=(0.0, 1.0, 2.0), histogram=(1, 1))
    words = CategoricalProfile(count=2, missing=0, frequencies=dict.fromkeys(HEIGHTS, 1))
    day = [datetime(2024, 1, 1 + index, tzinfo=UTC) for index in range(4)]
    return Contract(
        view="parcels",
        grain="one parcel",
        prediction_lead_minutes=0,
        reporting_timezone="UTC",
        columns=(
            Column(name="parcel", dtype="int64", role="key", description="which"),
            Column(name="at", dtype="timestamp", role="event_time", description="when"),
            Column(name="zone", dtype="string", role="feature", description="where to", profile=words),
            Column(name="depot", dtype="string", role="feature", description="from", nullable=True, profile=words),
            Column(name="weight", dtype="float32", role="feature", description="kg", profile=numbers),
            Column(name="hour", dtype="float32", role="feature", description="of day", nullable=True, profile=numbers),
            Column(name="late", dtype="int32", role="label", description="was it late"),
        ),
        splits={
            "train": Split(start=day[0], end=day[1], rows=2),
            "validation": Split(start=day[1], end=day[2], rows=0),
            "test": Split(start=day[2], end=day[3], rows=0),
        },
        sources=(SourceCount(table="parcels", read=2, kept=2, quarantined={}),),
    )


def probability(zone: str, depot: str | None, weight: float, hour: float | None) -> float:
    """What the graph computes, in Python."""
    score = HEIGHTS.get(zone, 0.0) + HEIGHTS.get(depot or "", 0.0) + weight * 0.01
    score += 0.25 if hour is None else 0.1 * hour
    return 1 / (1 + math.exp(-score))


def graph(*, bias: float = 0.0) -> onnx.ModelProto:
    """sigmoid(encode(zone) + encode(depot) + 0.01 weight + 0.1 hour + bias); a missing hour counts 0.25."""
    nodes = [
        *(
            helper.make_node(
                "LabelEncoder",
                [name],
                [f"{name}_height"],
                domain="ai.onnx.ml",
                keys_strings=list(HEIGHTS),
                values_floats=list(HEIGHTS.values()),
                default_float=0.0,
            )
            for name in ("zone", "depot")
        ),
        helper.make_node("IsNaN", ["hour"], ["hour_missing"]),
        helper.make_node("Mul", ["hour", "tenth"], ["hour_scaled"]),
        helper.make_node("Where", ["hour_missing", "quarter", "hour_scaled"], ["hour_height"]),
        helper.make_node("Mul", ["weight", "hundredth"], ["weight_height"]),
        helper.make_node("Sum", ["zone_height", "depot_height", "weight_height", "hour_height", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probability"]),
    ]
    constants = {"tenth": 0.1, "hundredth": 0.01, "quarter": 0.25, "bias": bias}
    made = helper.make_graph(
        nodes,
        "parcels",
        [
            helper.make_tensor_value_info("zone", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("depot", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("hour", TensorProto.FLOAT, ["N"]),
        ],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        [onnx.numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model


def save(folder: Path, *, bias: float = 0.0) -> Path:
    """Write ``model.onnx`` and ``contract.json`` into ``folder`` and give the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(contract().to_json(), encoding="utf-8")
    onnx.save(graph(bias=bias), folder / "model.onnx")
    return folder / "model.onnx"


ROWS: list[dict[str, object]] = [
    {"zone": "south", "depot": "north", "weight": 1.5, "hour": 7},
    {"zone": "north", "depot": None, "weight": 20, "hour": None},
    {"zone": "elsewhere", "depot": "south", "weight": 0.25, "hour": 23.5},
]


def columns(rows: list[dict[str, object]] = ROWS) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in FEATURES}


def expected(rows: list[dict[str, object]] = ROWS) -> list[float]:
    return [probability(**row) for row in rows]  # type: ignore[arg-type]


def infer_body(rows: list[dict[str, object]] = ROWS) -> dict[str, object]:
    datatypes = {"zone": "BYTES", "depot": "BYTES", "weight": "FP32", "hour": "FP32"}
    return {
        "inputs": [
            {"name": name, "shape": [len(values)], "datatype": datatypes[name], "data": values}
            for name, values in columns(rows).items()
        ]
    }
