"""MLflow's scoring protocol (MLflow 2 and 3, "Deploy MLflow Model: inference server specification").

``POST /invocations`` with exactly one of ``dataframe_split``, ``dataframe_records``, ``inputs`` and
``instances``; ``GET /ping``, ``/health`` and ``/version``. Answers are those of MLflow's own server
for an ONNX model with named columns: ``{"predictions": [{"<output>": value}, …]}``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from serve.dataplane import DataPlane, Result
from serve.gateway.asgi import Answer, Call, Endpoint, Transport, decode_json, encode_json
from serve.gateway.errors import MalformedRequest, ServeError, shown
from serve.runtimes.base import Array
from serve.validation import Values

SPLIT_KEYS = frozenset({"columns", "data", "index"})


def decode_request(document: object) -> dict[str, Values]:
    """The columns of a scoring request.

    ``params`` is ignored, as MLflow's server does for a model without parameters.

    Raises:
        MalformedRequest: it names the place, what was expected and what came.
    """
    if not isinstance(document, dict):
        raise MalformedRequest(f"expected a JSON object with one of {', '.join(FORMATS)}, got {shown(document)}")
    found = [name for name in FORMATS if name in document]
    if len(found) != 1:
        raise MalformedRequest(f"expected exactly one of {', '.join(FORMATS)}, got {', '.join(found) or 'none'}")
    if unknown := document.keys() - {*FORMATS, "params"}:
        raise MalformedRequest(f"unknown key {shown(min(unknown))}, expected {found[0]} and params at most")
    return FORMATS[found[0]](document[found[0]], found[0])


def encode_response(result: Result) -> bytes:
    """One object per row, an entry per output."""
    columns = [_values(array) for array in result.outputs.values()]
    names = tuple(result.outputs)
    return encode_json({"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]})


def _split(value: object, where: str) -> dict[str, Values]:
    if not isinstance(value, dict) or not value.keys() <= SPLIT_KEYS or not {"columns", "data"} <= value.keys():
        raise MalformedRequest(f"{where}: expected an object with columns, data and index, got {shown(value)}")
    columns, data = value["columns"], value["data"]
    if not isinstance(columns, list) or any(not isinstance(name, str) for name in columns):
        raise MalformedRequest(f"{where}.columns: expected an array of strings, got {shown(columns)}")
    if len(set(columns)) != len(columns):
        raise MalformedRequest(f"{where}.columns: expected each column once, got {shown(columns)}")
    if not isinstance(data, list):
        raise MalformedRequest(f"{where}.data: expected an array of rows, got {shown(data)}")
    for index, row in enumerate(data):
        if type(row) is not list or len(row) != len(columns):
            raise MalformedRequest(f"{where}.data[{index}]: expected {len(columns)} values, got {shown(row)}")
    if not data:
        return {name: [] for name in columns}
    return dict(zip(columns, zip(*data, strict=True), strict=True))


def _records(value: object, where: str) -> dict[str, Values]:
    """Rows as objects. A key that a row lacks is null in it, as in a frame made from them."""
    if not isinstance(value, list) or not value:
        raise MalformedRequest(f"{where}: expected an array of objects, one a row, got {shown(value)}")
    names: dict[str, None] = {}
    for index, row in enumerate(value):
        if type(row) is not dict:
            raise MalformedRequest(f"{where}[{index}]: expected an object, got {shown(row)}")
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in value] for name in names}


def _inputs(value: object, where: str) -> dict[str, Values]:
    """Columns as arrays; a row as an object of scalars is a batch of one."""
    if isinstance(value, list):
        return _records(value, where)
    if not isinstance(value, dict) or not value:
        raise MalformedRequest(f"{where}: expected an object of columns, got {shown(value)}")
    return {name: column if isinstance(column, list) else [column] for name, column in value.items()}


FORMATS: dict[str, Callable[[object, str], dict[str, Values]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "inputs": _inputs,
    "instances": _inputs,
}


def _values(array: Array) -> list[object]:
    rows = array.shape[0]
    flat = array.reshape(rows) if array.size == rows else array.reshape(rows, -1)
    return list(flat.tolist())


async def _invocations(plane: DataPlane, call: Call) -> Answer:
    model = plane.model()
    columns = decode_request(decode_json(call))
    result = await plane.infer(model.name, model.version, columns)
    return Answer(encode_response(result), model=result.model, version=result.version)


async def _ping(plane: DataPlane, _call: Call) -> Answer:
    plane.require_ready()
    return Answer(b"\n")


async def _version(_plane: DataPlane, _call: Call) -> Answer:
    return Answer(version("mlflow").encode("ascii"))


def _error_body(error: ServeError) -> dict[str, object]:
    return {"error_code": error.mlflow_code, "message": str(error)}


TRANSPORT = Transport(
    prefixes=("/invocations", "/ping", "/health", "/version"),
    endpoints=(
        Endpoint("POST", "/invocations", _invocations),
        Endpoint("GET", "/ping", _ping),
        Endpoint("GET", "/health", _ping),
        Endpoint("GET", "/version", _version),
    ),
    error_body=_error_body,
)
