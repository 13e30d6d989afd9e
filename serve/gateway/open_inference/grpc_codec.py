"""The messages of the specification's section "GRPC" to and from a request and its result.

Functions without state: a message in, a request out, and the other way round; the servicer around
them is not theirs. The messages are those of ``tritonclient.grpc.service_pb2`` (package ``inference``),
which is imported on first use: where gRPC is not served, nobody pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from serve.dataplane import Result
from serve.gateway.errors import MalformedRequest, shown
from serve.gateway.open_inference import binary
from serve.gateway.open_inference.datatypes import BOOL, BYTES, DATATYPES, OF_DTYPE, Datatype
from serve.gateway.open_inference.document import Parameters
from serve.gateway.open_inference.repository import READY
from serve.gateway.open_inference.request import InferRequest, check_output, rows_of, timeout
from serve.runtimes.base import Array, ModelMetadata, Tensor
from serve.validation import Values

Message = Any
"""A protobuf message; the generated module has no types."""


def decode_request(request: Message) -> InferRequest:
    """A ``ModelInferRequest``; ``binary_output`` says that its inputs came raw, so that outputs go raw.

    Raises:
        MalformedRequest: a tensor is not of its shape and datatype, raw and typed contents are mixed, or
            a parameter is not as it must be; it names ``inputs[i]``.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise MalformedRequest(f"raw_input_contents: expected {len(request.inputs)}, one an input, got {len(raw)}")
    columns: dict[str, Values] = {}
    for index, tensor in enumerate(request.inputs):
        where = f"inputs[{index}]"
        if tensor.name in columns:
            raise MalformedRequest(f"{where}: there is an input {shown(tensor.name)} already")
        columns[tensor.name] = _column(tensor, raw[index] if raw else None, where)
    for index, output in enumerate(request.outputs):
        check_output(_parameters(output.parameters, f"outputs[{index}]"), f"outputs[{index}]")
    return InferRequest(
        id=request.id or None,
        columns=columns,
        outputs=[output.name for output in request.outputs] or None,
        timeout_seconds=timeout(_parameters(request.parameters, "the request")),
        binary_output=bool(raw),
    )


def encode_response(result: Result, request: InferRequest) -> Message:
    """A ``ModelInferResponse``: raw where the request came raw, and where a typed field is lacking (FP16)."""
    response = _messages().ModelInferResponse(
        model_name=result.model, model_version=result.version, id=request.id or ""
    )
    # Raw contents are all outputs' or none's.
    raw = request.binary_output or any(
        DATATYPES[OF_DTYPE[array.dtype]].contents is None for array in result.outputs.values()
    )
    for name, array in result.outputs.items():
        datatype = DATATYPES[OF_DTYPE[array.dtype]]
        output = response.outputs.add(name=name, datatype=datatype.name, shape=array.shape)
        if raw:
            response.raw_output_contents.append(binary.encode(array))
        else:
            getattr(output.contents, str(datatype.contents)).extend(_elements(array))
    return response


def server_metadata(name: str, version: str, extensions: Iterable[str]) -> Message:
    """A ``ServerMetadataResponse``."""
    return _messages().ServerMetadataResponse(name=name, version=version, extensions=extensions)


def model_metadata(name: str, version: str, metadata: ModelMetadata) -> Message:
    """A ``ModelMetadataResponse``."""
    response = _messages().ModelMetadataResponse(name=name, versions=[version], platform=metadata.platform)
    _describe(response.inputs, metadata.inputs)
    _describe(response.outputs, metadata.outputs)
    return response


def repository_index(models: Iterable[tuple[str, str, str, str]], request: Message) -> Message:
    """A ``RepositoryIndexResponse`` to a ``RepositoryIndexRequest``: name, version, state, reason of each model."""
    response = _messages().RepositoryIndexResponse()
    for name, version, state, reason in models:
        if state == READY or not request.ready:
            response.models.add(name=name, version=version, state=state, reason=reason)
    return response


def _column(tensor: Message, raw: bytes | None, where: str) -> Values:
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise MalformedRequest(
            f"{where}.datatype: expected one of {', '.join(DATATYPES)}, got {shown(tensor.datatype)}"
        )
    rows = rows_of(list(tensor.shape), where)
    if tensor.parameters and "shared_memory_region" in _parameters(tensor.parameters, where):
        raise MalformedRequest(f"{where}.parameters: 'shared_memory_region' is not served")
    if raw is None:
        return _typed(tensor, datatype, rows, where)
    if tensor.HasField("contents"):
        raise MalformedRequest(f"{where}: expected contents or raw_input_contents, got both")
    return binary.decode(raw, 0, len(raw), tensor.name, datatype, rows, where)


def _typed(tensor: Message, datatype: Datatype, rows: int, where: str) -> Values:
    if datatype.contents is None:
        raise MalformedRequest(f"{where}: {datatype.name} has no contents of its type, send raw_input_contents")
    values = {field.name: value for field, value in tensor.contents.ListFields()}
    contents = list(values.pop(datatype.contents, ()))
    if values:
        raise MalformedRequest(
            f"{where}.contents: expected {datatype.contents} for {datatype.name}, got {', '.join(values)}"
        )
    if len(contents) != rows:
        raise MalformedRequest(
            f"{where}.contents.{datatype.contents}: expected {rows} values, as shape says, got {len(contents)}"
        )
    if datatype is BYTES:
        return [_text(value, tensor.name, row, where) for row, value in enumerate(contents)]
    # INT8 and INT16 travel in 32 bits: whatever they do not hold is a mistake, not a rest.
    if datatype.low is not None and datatype.high is not None:
        for row, value in enumerate(contents):
            if not datatype.low <= value <= datatype.high:
                raise MalformedRequest(
                    f"{where}.contents: column {tensor.name!r}, row {row}: expected {datatype.name}, got {value}"
                )
    return np.array(contents, dtype=np.bool_ if datatype is BOOL else datatype.wire)


def _text(raw: bytes, name: str, row: int, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"{where}: column {name!r}, row {row}: expected UTF-8, got {shown(raw[:60])}") from error


def _elements(array: Array) -> list[object]:
    if array.dtype == object:
        return [value.encode() if isinstance(value, str) else value for value in array.ravel().tolist()]
    return list(array.ravel().tolist())


def _parameters(parameters: Mapping[str, Message], where: str) -> Parameters:
    found: Parameters = {}
    for name, value in parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise MalformedRequest(f"{where}.parameters: {shown(name)}: has no value")
        found[name] = getattr(value, kind)
    return found


def _describe(field: Message, tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        field.add(name=tensor.name, datatype=OF_DTYPE[tensor.dtype], shape=tensor.shape)


def message(name: str, **fields: object) -> Message:
    """A message of the service, by its name."""
    return getattr(_messages(), name)(**fields)


@cache
def _messages() -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2
