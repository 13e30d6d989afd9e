"""MLflow's scoring protocol (MLflow 2 and 3, "Deploy MLflow Model: inference server specification").

``POST /invocations`` with CSV, or with JSON and exactly one of ``dataframe_split``,
``dataframe_records``, ``inputs`` and ``instances``; ``GET /ping``, ``/health`` and ``/version``.
Answers are those of MLflow's own server for an ONNX model with named columns:
``{"predictions": [{"<output>": value}, …]}``. Where we refuse what it takes, or the other way round,
``tests/integration/serve/test_invocations_mlflow.py`` has it in a table with the reason.
"""

from __future__ import annotations

import asyncio
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from serve.dataplane import DataPlane, Result, ServedModel
from serve.gateway.errors import MalformedRequest, PathNotFound, ServeError, UnsupportedMediaType, shown
from serve.gateway.invocations_csv import decode_csv
from serve.gateway.transport import JSON, Answer, Call, Endpoint, Transport, decode_json, encode_json
from serve.runtimes.base import Array
from serve.validation import Values

CSV = "text/csv"
MEDIA_TYPES = (JSON, CSV)

PARSED_ON_THE_LOOP = 65_536
"""Bytes. A body up to this size is parsed in a millisecond or two, which is what other requests then wait."""

LARGEST_FRAME = 10_000_000
"""Values. A body of 16 MiB holds fewer; records that share no key would multiply to far more."""

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
    """Rows as arrays beside the columns' names; or what has the names itself, as objects or columns."""
    if not isinstance(value, dict) or not value.keys() <= SPLIT_KEYS or "data" not in value:
        raise MalformedRequest(f"{where}: expected an object with columns, data and index, got {shown(value)}")
    data, names = value["data"], value.get("columns")
    if names is not None:
        if not isinstance(names, list) or any(not isinstance(name, str) for name in names):
            raise MalformedRequest(f"{where}.columns: expected an array of strings, got {shown(names)}")
        if len(set(names)) != len(names):
            raise MalformedRequest(f"{where}.columns: expected each column once, got {shown(names)}")
    columns: dict[str, Values]
    if isinstance(data, dict) or (isinstance(data, list) and data and type(data[0]) is dict):
        columns = _inputs(data, f"{where}.data")
        if names is not None and columns.keys() != set(names):
            raise MalformedRequest(f"{where}.data: expected the columns {shown(names)}, got {shown(list(columns))}")
    elif names is None:
        raise MalformedRequest(f"{where}.columns: expected an array of strings, got none")
    else:
        columns = _cells(data, names, f"{where}.data")
    index, rows = value.get("index"), max(map(len, columns.values()), default=0)
    if index is not None and (not isinstance(index, list) or len(index) != rows):
        raise MalformedRequest(f"{where}.index: expected an array with an entry a row, {rows}, got {shown(index)}")
    return columns


def _cells(data: object, names: Sequence[str], where: str) -> dict[str, Values]:
    if not isinstance(data, list):
        raise MalformedRequest(f"{where}: expected an array of rows, got {shown(data)}")
    for index, row in enumerate(data):
        if type(row) is not list or len(row) != len(names):
            raise MalformedRequest(f"{where}[{index}]: expected {len(names)} values, got {shown(row)}")
    if not data:
        return {name: [] for name in names}
    return dict(zip(names, zip(*data, strict=True), strict=True))


def _records(value: object, where: str) -> dict[str, Values]:
    """Rows as objects. A key that a row lacks is null in it, as in a frame made from them."""
    if not isinstance(value, list) or not value:
        raise MalformedRequest(f"{where}: expected an array of objects, one a row, got {shown(value)}")
    names: dict[str, None] = {}
    for index, row in enumerate(value):
        if type(row) is not dict:
            raise MalformedRequest(f"{where}[{index}]: expected an object, got {shown(row)}")
        names.update(dict.fromkeys(row))
    _require_bounded(len(value), len(names), where)
    return {name: [row.get(name) for row in value] for name in names}


def _inputs(value: object, where: str) -> dict[str, Values]:
    """Columns as arrays, or rows as objects.

    One value in place of an array is that of every row; a row as an object of values is a batch of one.
    """
    if isinstance(value, list):
        return _records(value, where)
    if not isinstance(value, dict) or not value:
        raise MalformedRequest(f"{where}: expected an object of columns, got {shown(value)}")
    rows = next((len(column) for column in value.values() if isinstance(column, list)), 1)
    _require_bounded(rows, len(value), where)
    return {name: column if isinstance(column, list) else [column] * rows for name, column in value.items()}


def _instances(value: object, where: str) -> dict[str, Values]:
    """As :func:`_inputs`, but every row has every key."""
    columns = _inputs(value, where)
    if isinstance(value, list):
        for index, row in enumerate(value):
            if len(row) != len(columns):
                lacking = next(name for name in columns if name not in row)
                raise MalformedRequest(f"{where}[{index}]: expected the keys of the other rows, got no {lacking!r}")
    return columns


def _require_bounded(rows: int, columns: int, where: str) -> None:
    if rows * columns > LARGEST_FRAME:
        raise MalformedRequest(f"{where}: {rows} rows of {columns} columns are more than {LARGEST_FRAME} values")


FORMATS: dict[str, Callable[[object, str], dict[str, Values]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "inputs": _inputs,
    "instances": _instances,
}


def _values(array: Array) -> list[object]:
    rows = array.shape[0]
    flat = array.reshape(rows) if array.size == rows else array.reshape(rows, -1)
    return list(flat.tolist())


def _media_type(declared: str) -> str:
    """One of :data:`MEDIA_TYPES`; JSON where a request declares none.

    Raises:
        UnsupportedMediaType: it is another one, in another character set, or with another parameter.
    """
    media_type, *parameters = (part.strip().lower() for part in (declared or JSON).split(";"))
    expected = f"{' or '.join(MEDIA_TYPES)}, in UTF-8"
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType("content-type", declared, expected)
    for name, _, value in (parameter.partition("=") for parameter in parameters if parameter):
        if name != "charset" or value.strip('"') != "utf-8":
            raise UnsupportedMediaType("content-type", declared, expected)
    return media_type


def _columns(call: Call, model: ServedModel, media_type: str) -> dict[str, Values]:
    if media_type == CSV:
        return decode_csv(call.body, model)
    return decode_request(decode_json(replace(call, body=call.body.removeprefix(BOM_UTF8))))


async def _invocations(plane: DataPlane, call: Call) -> Answer:
    model = plane.model()
    call.context.may_use(model.name)
    media_type = _media_type(call.headers.get(b"content-type", b"").decode("latin-1"))
    # The first CSV imports pandas, which takes most of a second.
    if len(call.body) > PARSED_ON_THE_LOOP or (media_type == CSV and "pandas" not in sys.modules):
        columns = await asyncio.to_thread(_columns, call, model, media_type)
    else:
        columns = _columns(call, model, media_type)
    result = await plane.infer(model.name, model.version, columns, context=call.context)
    return Answer(encode_response(result), model=result.model, version=result.version)


async def _ping(plane: DataPlane, _call: Call) -> Answer:
    plane.require_ready()
    return Answer(b"\n")


async def _version(_plane: DataPlane, _call: Call) -> Answer:
    try:
        return Answer(version("mlflow").encode("ascii"))
    except PackageNotFoundError as error:
        raise PathNotFound("/version") from error


def _error_body(error: ServeError) -> dict[str, object]:
    return {"error_code": error.mlflow_code, "message": str(error)}


TRANSPORT = Transport(
    prefixes=("/invocations", "/ping", "/health", "/version"),
    endpoints=(
        Endpoint("POST", "/invocations", _invocations),
        Endpoint("GET", "/ping", _ping, open=True),
        Endpoint("GET", "/health", _ping, open=True),
        Endpoint("GET", "/version", _version),
    ),
    error_body=_error_body,
)
