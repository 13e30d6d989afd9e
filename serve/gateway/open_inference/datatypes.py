"""The protocol's tensor data types (section "Tensor Data Types"), in JSON, as raw bytes, in protobuf and in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.validation import NULL


@dataclass(frozen=True, slots=True)
class Datatype:
    """One data type.

    ``wire``: the dtype of an element in binary data, little-endian; ``None`` for BYTES, whose elements
    differ in size. BF16, which numpy lacks, has that of its bits. ``kinds``: the Python types of an
    element in JSON. ``low`` and ``high``: what an integer type holds. ``contents``: the field of gRPC's
    ``InferTensorContents``; ``None`` where there are raw contents alone.
    """

    name: str
    wire: np.dtype[Any] | None
    kinds: frozenset[type]
    contents: str | None
    low: int | None = None
    high: int | None = None


def _integer(name: str, dtype: str, contents: str) -> Datatype:
    wire = np.dtype(dtype)
    held = np.iinfo(wire)
    return Datatype(name, wire, frozenset({int, NULL}), contents, int(held.min), int(held.max))


def _floating(name: str, dtype: str, contents: str | None) -> Datatype:
    return Datatype(name, np.dtype(dtype), frozenset({int, float, NULL}), contents)


BOOL = Datatype("BOOL", np.dtype(np.uint8), frozenset({bool, NULL}), "bool_contents")
BF16 = _floating("BF16", "<u2", None)
BYTES = Datatype("BYTES", None, frozenset({str, NULL}), "bytes_contents")

DATATYPES: dict[str, Datatype] = {
    kind.name: kind
    for kind in (
        BOOL,
        _integer("INT8", "<i1", "int_contents"),
        _integer("INT16", "<i2", "int_contents"),
        _integer("INT32", "<i4", "int_contents"),
        _integer("INT64", "<i8", "int64_contents"),
        _integer("UINT8", "<u1", "uint_contents"),
        _integer("UINT16", "<u2", "uint_contents"),
        _integer("UINT32", "<u4", "uint_contents"),
        _integer("UINT64", "<u8", "uint64_contents"),
        _floating("FP16", "<f2", None),
        _floating("FP32", "<f4", "fp32_contents"),
        _floating("FP64", "<f8", "fp64_contents"),
        BF16,
        BYTES,
    )
}

OF_DTYPE: dict[np.dtype[Any], str] = {
    np.dtype(np.bool_): "BOOL",
    **{np.dtype(f"int{bits}"): f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"float{bits}"): f"FP{bits}" for bits in (16, 32, 64)},
    np.dtype(object): "BYTES",
}
"""What a model's arrays are in the protocol."""
