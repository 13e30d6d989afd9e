"""An inference response (section "Inference Response JSON Object"), with or without binary data behind it."""

from __future__ import annotations

from serve.dataplane import Result
from serve.gateway.open_inference import binary
from serve.gateway.open_inference.datatypes import OF_DTYPE
from serve.gateway.open_inference.request import InferRequest
from serve.gateway.transport import encode_json
from serve.runtimes.base import Array


def encode_response(result: Result, request: InferRequest) -> tuple[bytes, int | None]:
    """The response's body, and the length of the JSON in it where binary data follows, else ``None``.

    An output as JSON is flat or nested as its shape says; NaN and infinities, which JSON lacks, are ``null``.
    """
    response: dict[str, object] = {"model_name": result.model, "model_version": result.version}
    if request.id is not None:
        response["id"] = request.id
    outputs: list[dict[str, object]] = []
    parts: list[bytes] = []
    for name, array in result.outputs.items():
        output: dict[str, object] = {"name": name, "shape": array.shape, "datatype": OF_DTYPE[array.dtype]}
        if request.is_binary(name):
            parts.append(binary.encode(array))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = _data(array)
        outputs.append(output)
    response["outputs"] = outputs
    header = encode_json(response)
    return (b"".join((header, *parts)), len(header)) if parts else (header, None)


def _data(array: Array) -> object:
    return array.tolist() if array.dtype == object or not array.flags.c_contiguous else array
