"""Open Inference Protocol v2 (KServe's "Predict Protocol, Version 2"), HTTP with JSON.

Section "HTTP/REST" of the specification: server and model health, server and model metadata,
inference with and without a version. A tensor is one column, ``[N]`` or ``[N, 1]``, its data flat
or nested. ``parameters`` are legal wherever the specification has them, and ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import numpy as np

from serve.dataplane import DataPlane, Result
from serve.gateway.asgi import Answer, Call, Endpoint, Transport, decode_json, encode_json
from serve.gateway.errors import MalformedRequest, ServeError, shown
from serve.runtimes.base import Array, Tensor
from serve.validation import NULL, Values

SERVER = "ml-training-deployment"

DATATYPES: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool, NULL}),
    **{name: frozenset({int, NULL}) for name in ("INT8", "INT16", "INT32", "INT64")},
    **{name: frozenset({int, NULL}) for name in ("UINT8", "UINT16", "UINT32", "UINT64")},
    **{name: frozenset({int, float, NULL}) for name in ("FP16", "FP32", "FP64")},
    "BYTES": frozenset({str, NULL}),
}
"""The specification's tensor data types, and what their elements are in JSON."""

OF_DTYPE: dict[np.dtype[Any], str] = {
    np.dtype(np.bool_): "BOOL",
    **{np.dtype(f"int{bits}"): f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"float{bits}"): f"FP{bits}" for bits in (16, 32, 64)},
    np.dtype(object): "BYTES",
}

REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})
INPUT_KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})
OUTPUT_KEYS = frozenset({"name", "parameters"})


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request. ``outputs`` is ``None`` where the client wants all."""

    id: str | None
    columns: dict[str, Values]
    outputs: list[str] | None


def decode_request(document: object) -> InferRequest:
    """Raises: MalformedRequest, which names the input and the key."""
    request = _object(document, REQUEST_KEYS, "the request")
    identity = request.get("id")
    if not isinstance(identity, str | None):
        raise MalformedRequest(f"id: expected a string, got {shown(identity)}")
    columns: dict[str, Values] = {}
    for index, item in enumerate(_array(request, "inputs", "the request")):
        name, values = _column(item, f"inputs[{index}]")
        if name in columns:
            raise MalformedRequest(f"inputs[{index}]: there is an input {shown(name)} already")
        columns[name] = values
    outputs = None
    if "outputs" in request:
        outputs = [
            _name(_object(item, OUTPUT_KEYS, f"outputs[{index}]"), f"outputs[{index}]")
            for index, item in enumerate(_array(request, "outputs", "the request"))
        ]
    return InferRequest(identity, columns, outputs or None)


def encode_response(result: Result, identity: str | None) -> bytes:
    """An inference response; each output's data is flat or nested as its shape says."""
    response: dict[str, object] = {"model_name": result.model, "model_version": result.version}
    if identity is not None:
        response["id"] = identity
    response["outputs"] = [
        {"name": name, "shape": array.shape, "datatype": OF_DTYPE[array.dtype], "data": _data(array)}
        for name, array in result.outputs.items()
    ]
    return encode_json(response)


def _column(item: object, where: str) -> tuple[str, Values]:
    tensor = _object(item, INPUT_KEYS, where)
    name = _name(tensor, where)
    datatype = tensor.get("datatype")
    kinds = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if kinds is None:
        raise MalformedRequest(f"{where}.datatype: expected one of {', '.join(DATATYPES)}, got {shown(datatype)}")
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or any(type(size) is not int or size < 0 for size in shape)
        or shape[1:] not in ([], [1])
    ):
        raise MalformedRequest(f"{where}.shape: expected [rows] or [rows, 1], got {shown(shape)}")
    if "data" not in tensor:
        raise MalformedRequest(f"{where}.data: is missing; tensors come as JSON here, not as binary data")
    data = tensor["data"]
    if not isinstance(data, list):
        raise MalformedRequest(f"{where}.data: expected an array, got {shown(data)}")
    if data and len(shape) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if len(data) != shape[0]:
        raise MalformedRequest(f"{where}.data: expected {shape[0]} values, as shape says, got {len(data)}")
    if not set(map(type, data)) <= kinds:
        row, value = next((row, value) for row, value in enumerate(data) if type(value) not in kinds)
        raise MalformedRequest(f"{where}.data: column {name!r}, row {row}: expected {datatype}, got {shown(value)}")
    return name, data


def _object(item: object, keys: frozenset[str], where: str) -> dict[str, object]:
    if not isinstance(item, dict):
        raise MalformedRequest(f"{where}: expected an object, got {shown(item)}")
    if unknown := item.keys() - keys:
        raise MalformedRequest(f"{where}: unknown key {shown(min(unknown))}, expected {', '.join(sorted(keys))}")
    if not isinstance(item.get("parameters", {}), dict):
        raise MalformedRequest(f"{where}.parameters: expected an object, got {shown(item['parameters'])}")
    return cast("dict[str, object]", item)


def _array(item: dict[str, object], key: str, where: str) -> list[object]:
    value = item.get(key)
    if not isinstance(value, list):
        raise MalformedRequest(f"{where}: {key} must be an array, got {shown(value) if key in item else 'nothing'}")
    return value


def _name(item: dict[str, object], where: str) -> str:
    name = item.get("name")
    if not isinstance(name, str):
        raise MalformedRequest(f"{where}.name: expected a string, got {shown(name)}")
    return name


def _data(array: Array) -> object:
    return array.tolist() if array.dtype == object or not array.flags.c_contiguous else array


async def _infer(plane: DataPlane, call: Call) -> Answer:
    if b"inference-header-content-length" in call.headers:
        raise MalformedRequest("binary tensors are not served: send the tensors' data as JSON")
    # An unknown model is said before anything about the body.
    model = plane.model(call.path["model"], call.path.get("version"))
    request = decode_request(decode_json(call))
    result = await plane.infer(model.name, model.version, request.columns, request.outputs)
    return Answer(encode_response(result, request.id), model=result.model, version=result.version)


async def _server(_plane: DataPlane, _call: Call) -> Answer:
    return Answer(encode_json({"name": SERVER, "version": _version(), "extensions": []}))


async def _live(plane: DataPlane, _call: Call) -> Answer:
    return Answer(encode_json({"live": plane.live}))


async def _ready(plane: DataPlane, _call: Call) -> Answer:
    plane.require_ready()
    return Answer(encode_json({"ready": True}))


async def _model(plane: DataPlane, call: Call) -> Answer:
    model = plane.model(call.path["model"], call.path.get("version"))
    metadata = plane.metadata(model.name)
    document = {
        "name": model.name,
        "versions": [model.version],
        "platform": metadata.platform,
        "inputs": _tensors(metadata.inputs),
        "outputs": _tensors(metadata.outputs),
    }
    return Answer(encode_json(document), model=model.name, version=model.version)


async def _model_ready(plane: DataPlane, call: Call) -> Answer:
    model = plane.model(call.path["model"], call.path.get("version"))
    return Answer(encode_json({"name": model.name, "ready": True}), model=model.name, version=model.version)


def _tensors(tensors: Sequence[Tensor]) -> list[dict[str, object]]:
    return [
        {"name": tensor.name, "datatype": OF_DTYPE[tensor.dtype], "shape": list(tensor.shape)} for tensor in tensors
    ]


def _version() -> str:
    try:
        return version(SERVER)
    except PackageNotFoundError:
        return "unknown"


def _error_body(error: ServeError) -> dict[str, object]:
    return {"error": str(error)}


TRANSPORT = Transport(
    prefixes=("/v2",),
    endpoints=(
        Endpoint("POST", "/v2/models/{model}/infer", _infer),
        Endpoint("POST", "/v2/models/{model}/versions/{version}/infer", _infer),
        Endpoint("GET", "/v2/health/live", _live),
        Endpoint("GET", "/v2/health/ready", _ready),
        Endpoint("GET", "/v2/models/{model}/versions/{version}/ready", _model_ready),
        Endpoint("GET", "/v2/models/{model}/versions/{version}", _model),
        Endpoint("GET", "/v2/models/{model}/ready", _model_ready),
        Endpoint("GET", "/v2/models/{model}", _model),
        Endpoint("GET", "/v2", _server),
    ),
    error_body=_error_body,
)
