"""The decoder that says what is wrong with a request's JSON, and reads what the fast one does not.

It accepts what :func:`serve.gateway.open_inference.document.parse_fast` does, with equal results, and
beyond that a column nested as a matrix (``[[1.0], [2.0]]`` of shape ``[2, 1]``).
"""

from __future__ import annotations

from typing import cast

import orjson
from msgspec import UNSET, UnsetType

from serve.gateway.errors import MalformedRequest, shown
from serve.gateway.open_inference.datatypes import DATATYPES, Datatype
from serve.gateway.open_inference.document import INPUTS, Document, InputTensor, OutputTensor, Parameters

REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters", "model_name", "model_version"})
INPUT_KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})
OUTPUT_KEYS = frozenset({"name", "parameters"})
SCALARS = frozenset({str, int, float, bool})


def parse(text: bytes) -> Document:
    """Raises: MalformedRequest, which names the input and the key."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    request = _object(document, REQUEST_KEYS, "the request")
    inputs = [_input(item, f"inputs[{index}]") for index, item in enumerate(_array(request, "inputs"))]
    outputs: list[OutputTensor] | UnsetType = UNSET
    if "outputs" in request:
        outputs = [_output(item, f"outputs[{index}]") for index, item in enumerate(_array(request, "outputs"))]
    return Document(
        inputs=inputs,
        outputs=outputs,
        id=_text(request, "id"),
        parameters=_parameters(request, "the request"),
        model_name=_text(request, "model_name"),
        model_version=_text(request, "model_version"),
    )


def _input(item: object, where: str) -> InputTensor:
    tensor = _object(item, INPUT_KEYS, where)
    name = _name(tensor, where)
    found = tensor.get("datatype")
    datatype = DATATYPES.get(found) if isinstance(found, str) else None
    if datatype is None:
        raise MalformedRequest(f"{where}.datatype: expected one of {', '.join(DATATYPES)}, got {shown(found)}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        raise MalformedRequest(f"{where}.shape: expected [rows] or [rows, 1], got {shown(shape)}")
    data: list[object] | UnsetType = UNSET
    if "data" in tensor:
        data = _data(tensor["data"], name, datatype, shape, where)
    return INPUTS[datatype.name](name=name, shape=shape, data=data, parameters=_parameters(tensor, where))


def _data(data: object, name: str, datatype: Datatype, shape: list[int], where: str) -> list[object]:
    if not isinstance(data, list):
        raise MalformedRequest(f"{where}.data: expected an array, got {shown(data)}")
    if data and len(shape) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if not set(map(type, data)) <= datatype.kinds:
        row, value = next((row, value) for row, value in enumerate(data) if type(value) not in datatype.kinds)
        raise _not_of_type(name, row, value, datatype, where)
    if datatype.low is not None and datatype.high is not None:
        for row, value in enumerate(data):
            if value is not None and not datatype.low <= value <= datatype.high:
                raise _not_of_type(name, row, value, datatype, where)
    # As the fast decoder gives them.
    return [float(value) if type(value) is int else value for value in data] if float in datatype.kinds else data


def _not_of_type(name: str, row: int, value: object, datatype: Datatype, where: str) -> MalformedRequest:
    return MalformedRequest(f"{where}.data: column {name!r}, row {row}: expected {datatype.name}, got {shown(value)}")


def _output(item: object, where: str) -> OutputTensor:
    tensor = _object(item, OUTPUT_KEYS, where)
    return OutputTensor(name=_name(tensor, where), parameters=_parameters(tensor, where))


def _parameters(item: dict[str, object], where: str) -> Parameters | UnsetType:
    if "parameters" not in item:
        return UNSET
    parameters = item["parameters"]
    if not isinstance(parameters, dict):
        raise MalformedRequest(f"{where}.parameters: expected an object, got {shown(parameters)}")
    for name, value in parameters.items():
        if type(value) not in SCALARS:
            raise MalformedRequest(
                f"{where}.parameters: {shown(name)}: expected a string, a number or a boolean, got {shown(value)}"
            )
    return cast("Parameters", parameters)


def _object(item: object, keys: frozenset[str], where: str) -> dict[str, object]:
    if not isinstance(item, dict):
        raise MalformedRequest(f"{where}: expected an object, got {shown(item)}")
    if unknown := item.keys() - keys:
        raise MalformedRequest(f"{where}: unknown key {shown(min(unknown))}, expected {', '.join(sorted(keys))}")
    return cast("dict[str, object]", item)


def _array(item: dict[str, object], key: str) -> list[object]:
    value = item.get(key)
    if not isinstance(value, list):
        raise MalformedRequest(f"the request: {key} must be an array, got {shown(value) if key in item else 'nothing'}")
    return value


def _text(item: dict[str, object], key: str) -> str | None:
    value = item.get(key)
    if not isinstance(value, str | None):
        raise MalformedRequest(f"{key}: expected a string, got {shown(value)}")
    return value


def _name(item: dict[str, object], where: str) -> str:
    name = item.get("name")
    if not isinstance(name, str):
        raise MalformedRequest(f"{where}.name: expected a string, got {shown(name)}")
    return name
