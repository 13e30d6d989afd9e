"""Health, metadata and inference: the specification's section "HTTP/REST"."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from serve.dataplane import DataPlane
from serve.gateway.errors import MalformedRequest, UnsupportedMediaType, shown
from serve.gateway.open_inference.datatypes import OF_DTYPE
from serve.gateway.open_inference.request import decode_request
from serve.gateway.open_inference.response import encode_response
from serve.gateway.transport import JSON, Answer, Call, Endpoint, encode_json
from serve.runtimes.base import Tensor

SERVER = "ml-training-deployment"
EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")
BINARY = "application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"


def server_version() -> str:
    try:
        return version(SERVER)
    except PackageNotFoundError:
        return "unknown"


def header_length(call: Call) -> int | None:
    """The length of the JSON in a body with binary data, ``None`` for a body of JSON alone.

    Raises:
        MalformedRequest: it is no number, or more than the body has.
        UnsupportedMediaType: the body is declared to be something else.
    """
    declared = call.headers.get(b"content-type", b"").decode("latin-1")
    media_type = declared.partition(";")[0].strip().lower()
    value = call.headers.get(HEADER_LENGTH)
    expected = (JSON,) if value is None else (JSON, BINARY)
    if media_type and media_type not in expected:
        raise UnsupportedMediaType("content-type", declared, " or ".join(expected))
    if value is None:
        return None
    if not value.isdigit() or len(value) > 20 or int(value) > len(call.body):
        came = shown(value.decode("latin-1"))
        raise MalformedRequest(
            f"{HEADER_LENGTH.decode()}: expected a number of bytes, at most the body's {len(call.body)}, got {came}"
        )
    return int(value)


async def _infer(plane: DataPlane, call: Call) -> Answer:
    # An unknown model is said before anything about the body.
    model = plane.model(call.path["model"], call.path.get("version"))
    request = decode_request(call.body, header_length(call))
    if request.timeout_seconds is not None:
        call.context.shorten(request.timeout_seconds)
    result = await plane.infer(model.name, model.version, request.columns, request.outputs, call.context)
    body, length = encode_response(result, request)
    if length is None:
        return Answer(body, model=result.model, version=result.version)
    headers = ((HEADER_LENGTH, str(length).encode("ascii")),)
    return Answer(body, media_type=BINARY, model=result.model, version=result.version, headers=headers)


async def _server(_plane: DataPlane, _call: Call) -> Answer:
    return Answer(encode_json({"name": SERVER, "version": server_version(), "extensions": EXTENSIONS}))


async def _live(plane: DataPlane, _call: Call) -> Answer:
    return Answer(encode_json({"live": plane.live}))


async def _ready(plane: DataPlane, _call: Call) -> Answer:
    plane.require_ready()
    return Answer(encode_json({"ready": True}))


async def _model(plane: DataPlane, call: Call) -> Answer:
    model = plane.model(call.path["model"], call.path.get("version"))
    metadata = model.metadata
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


ENDPOINTS = (
    Endpoint("POST", "/v2/models/{model}/infer", _infer),
    Endpoint("POST", "/v2/models/{model}/versions/{version}/infer", _infer),
    Endpoint("GET", "/v2/health/live", _live, open=True),
    Endpoint("GET", "/v2/health/ready", _ready, open=True),
    Endpoint("GET", "/v2/models/{model}/versions/{version}/ready", _model_ready),
    Endpoint("GET", "/v2/models/{model}/versions/{version}", _model),
    Endpoint("GET", "/v2/models/{model}/ready", _model_ready),
    Endpoint("GET", "/v2/models/{model}", _model),
    Endpoint("GET", "/v2", _server),
)
