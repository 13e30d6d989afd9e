"""What the contestants are asked: rows of the model's own values, as the Open Inference Protocol has them.

JSON, and the "binary tensor data" extension of Triton: a JSON header whose tensors say
``binary_data_size``, and after it their raw bytes, little-endian, in the header's order. The header
``Inference-Header-Content-Length`` says where the JSON ends. A BYTES element is its length (uint32)
and its bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from console import UserError
from spark_jobs.contract import CategoricalProfile, Column, Contract, NumericProfile

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

HEADER_LENGTH = "Inference-Header-Content-Length"
SEED = 0
LENGTH = struct.Struct("<I")


class AnswerUnreadable(UserError):
    """A server's answer is not an inference response with one output."""


@dataclass(frozen=True)
class Body:
    """A request's bytes, and the HTTP headers that belong to them."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_binary(self) -> bool:
        """Whether its tensors, and those of the answer, are binary."""
        return HEADER_LENGTH in self.headers


def typical(contract: Contract) -> dict[str, Array]:
    """One row: of each feature the commonest category, or the median of training. Arrays [1], object or float32."""
    return {column.name: _array(column, [_typical(column)]) for column in contract.features}


def sample(contract: Contract, rows: int) -> dict[str, Array]:
    """The same ``rows`` rows at every call, drawn by column from what training saw.

    Categories come as often as they did, numbers from the quantiles; nothing is missing. Arrays
    [rows], object (str) or float32.
    """
    random = np.random.default_rng(SEED)
    return {column.name: _array(column, _drawn(column, rows, random)) for column in contract.features}


def json_body(columns: Mapping[str, Array]) -> Body:
    """An inference request in JSON; columns are [N] object (str) or float32."""
    inputs = [{**_header(name, values), "data": values.tolist()} for name, values in columns.items()]
    return Body(json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"})


def binary_body(columns: Mapping[str, Array]) -> Body:
    """An inference request with binary tensors that asks for binary outputs; columns as for JSON."""
    chunks = [_raw(values) for values in columns.values()]
    inputs = [
        {**_header(name, values), "parameters": {"binary_data_size": len(chunk)}}
        for (name, values), chunk in zip(columns.items(), chunks, strict=True)
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return Body(b"".join((header, *chunks)), headers)


def read_answer(content: bytes, header_length: str | None) -> Array:
    """The only output [N] float32 of an inference response; ``header_length`` is that HTTP header's value.

    Raises:
        AnswerUnreadable: it is no inference response, or has another number of outputs.
    """
    try:
        size = len(content) if header_length is None else int(header_length)
        (output,) = json.loads(content[:size])["outputs"]
        length = (output.get("parameters") or {}).get("binary_data_size")
        if length is None:
            return np.asarray(output["data"], np.float32).reshape(-1)
        return np.frombuffer(content[size : size + length], "<f4")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnswerUnreadable(f"not an inference response with one output: {content[:200]!r}") from error


def _header(name: str, values: Array) -> dict[str, object]:
    return {"name": name, "shape": list(values.shape), "datatype": "BYTES" if values.dtype == object else "FP32"}


def _raw(values: Array) -> bytes:
    if values.dtype != object:
        return values.astype("<f4").tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(LENGTH.pack(len(text)) + text for text in texts)


def _array(column: Column, values: list[Any]) -> Array:
    return np.array(values, object if column.is_categorical else np.float32)


def _typical(column: Column) -> str | float:
    if isinstance(column.profile, CategoricalProfile):
        return next(iter(column.profile.frequencies), "")
    if isinstance(column.profile, NumericProfile) and column.profile.quantiles:
        return column.profile.quantiles[len(column.profile.quantiles) // 2]
    return "" if column.is_categorical else 0.0


def _drawn(column: Column, rows: int, random: np.random.Generator) -> list[Any]:
    if isinstance(column.profile, CategoricalProfile) and (frequencies := column.profile.frequencies):
        counts = np.array([*frequencies.values()], np.float64)
        return [[*frequencies][index] for index in random.choice(len(counts), rows, p=counts / counts.sum())]
    if isinstance(column.profile, NumericProfile) and column.profile.quantiles:
        return [*random.choice(column.profile.quantiles, rows)]
    return [_typical(column)] * rows
