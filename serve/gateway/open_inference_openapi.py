"""The description of the Open Inference Protocol v2 and of the extensions that are served."""

from __future__ import annotations

from serve.gateway.open_inference.datatypes import DATATYPES, Datatype
from serve.gateway.operations import (
    BOOLEAN,
    MODEL_HEADERS,
    TEXT,
    WHOLE,
    Operation,
    Protocol,
    Schema,
    array,
    record,
    reference,
)

JSON = "application/json"
BINARY = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"
OPTIONAL_TEXT: Schema = {"type": ["string", "null"]}
SCALARS: Schema = {"type": ["string", "number", "boolean"]}
SHAPE = array(WHOLE, minItems=1, maxItems=2, description="[rows] or [rows, 1].")
BYTES: Schema = {"description": "The request's JSON, and the tensors' raw bytes behind it, in the inputs' order."}


def _parameters(**known: Schema) -> Schema:
    return {"type": "object", "properties": known, "additionalProperties": SCALARS}


def _element(datatype: Datatype) -> Schema:
    if datatype.low is not None and datatype.high is not None:
        return {"type": ["integer", "null"], "minimum": datatype.low, "maximum": datatype.high}
    kind = {float: "number", str: "string", bool: "boolean"}
    return {"type": [next(kind[known] for known in kind if known in datatype.kinds), "null"]}


def _input(datatype: Datatype) -> Schema:
    element = _element(datatype)
    return record(
        {"name": TEXT, "shape": SHAPE, "datatype": {"const": datatype.name}},
        {
            "data": {
                "anyOf": [array(element), array(array(element, minItems=1, maxItems=1))],
                "description": "As many values as shape says. null is a missing value.",
            },
            "parameters": _parameters(binary_data_size=WHOLE),
        },
        title=f"{datatype.name} tensor",
    )


SCHEMAS: dict[str, Schema] = {
    "InferRequest": record(
        {"inputs": array(reference("InferInput"), description="A tensor per column of the model's contract.")},
        {
            "id": OPTIONAL_TEXT | {"description": "Comes back in the answer."},
            "outputs": array(
                reference("InferRequestedOutput"), description="Which to compute; all where it is absent."
            ),
            "parameters": _parameters(
                timeout=WHOLE | {"maximum": 2**63 - 1, "description": "Microseconds that the client waits."},
                binary_data_output=BOOLEAN | {"description": "Every output as raw bytes."},
            ),
            "model_name": OPTIONAL_TEXT | {"description": "Ignored: the path says it."},
            "model_version": OPTIONAL_TEXT | {"description": "Ignored: the path says it."},
        },
    ),
    "InferInput": {"oneOf": [_input(datatype) for datatype in DATATYPES.values()]},
    "InferRequestedOutput": record({"name": TEXT}, {"parameters": _parameters(binary_data=BOOLEAN)}),
    "InferResponse": record(
        {"model_name": TEXT, "model_version": TEXT, "outputs": array(reference("InferOutput"))}, {"id": TEXT}
    ),
    "InferOutput": record(
        {"name": TEXT, "shape": array(WHOLE), "datatype": {"enum": list(DATATYPES)}},
        {
            "data": {"type": "array", "description": "Flat, or nested as shape says. null is no finite number."},
            "parameters": _parameters(binary_data_size=WHOLE),
        },
    ),
    "Tensor": record(
        {
            "name": TEXT,
            "datatype": {"enum": list(DATATYPES)},
            "shape": array({"type": "integer", "minimum": -1}, description="-1 where the size is the request's."),
        }
    ),
    "ModelMetadata": record(
        {
            "name": TEXT,
            "versions": array(TEXT),
            "platform": TEXT,
            "inputs": array(reference("Tensor")),
            "outputs": array(reference("Tensor")),
        }
    ),
    "ModelReady": record({"name": TEXT, "ready": BOOLEAN}),
    "ServerMetadata": record({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
    "ServerLive": record({"live": BOOLEAN}),
    "ServerReady": record({"ready": BOOLEAN}),
    "RepositoryIndexRequest": record({}, {"ready": BOOLEAN | {"description": "Only the models that are ready."}}),
    "RepositoryIndex": array(
        record({"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT})
    ),
    "RepositoryRequest": record({}, {"parameters": record({}, {"unload_dependents": {}})}),
    "Empty": record({}),
    "InferError": record({"error": TEXT | {"description": "What is wrong, with the place where there is one."}}),
}

INFER = Operation(
    "Predict",
    "One tensor per column, as JSON or as raw bytes behind the JSON (the extension Binary Tensor Data; the header "
    f"{HEADER_LENGTH} then has the length of the JSON). The model's contract says which columns there are and what "
    "they take.",
    answer={JSON: reference("InferResponse"), BINARY: {}},
    request={JSON: reference("InferRequest"), BINARY: BYTES},
    examples={JSON: {"inputs": [{"name": "weight", "shape": [2], "datatype": "FP32", "data": [1.5, 20]}]}},
    headers={HEADER_LENGTH: WHOLE | {"description": "Bytes of JSON before the tensors' raw bytes; absent without."}},
    answer_headers=(*MODEL_HEADERS, HEADER_LENGTH),
    errors=(404, 413, 415),
)
MODEL = Operation(
    "A model's inputs and outputs",
    "Names, data types and shapes.",
    {JSON: reference("ModelMetadata")},
    answer_headers=MODEL_HEADERS,
    errors=(404,),
)
MODEL_READY = Operation(
    "Is a model ready",
    "200 where it is loaded.",
    {JSON: reference("ModelReady")},
    answer_headers=MODEL_HEADERS,
    errors=(404,),
)


def _change(summary: str, description: str) -> Operation:
    return Operation(
        summary,
        f"{description} Needs a key that may administer.",
        answer={JSON: reference("Empty")},
        request={JSON: reference("RepositoryRequest")},
        examples={JSON: {}},
        body_required=False,
        errors=(404, 413, 415),
    )


PROTOCOL = Protocol(
    title="Open Inference Protocol v2",
    description="KServe's and Triton's protocol, with the extensions for binary tensors and the model repository.",
    error="InferError",
    schemas=SCHEMAS,
    operations={
        "POST /v2/models/{model}/infer": INFER,
        "POST /v2/models/{model}/versions/{version}/infer": INFER,
        "GET /v2/health/live": Operation("Is the server live", "200 from its start.", {JSON: reference("ServerLive")}),
        "GET /v2/health/ready": Operation(
            "Is the server ready", "200 once every model is loaded, 503 before.", {JSON: reference("ServerReady")}
        ),
        "GET /v2/models/{model}/versions/{version}/ready": MODEL_READY,
        "GET /v2/models/{model}/versions/{version}": MODEL,
        "GET /v2/models/{model}/ready": MODEL_READY,
        "GET /v2/models/{model}": MODEL,
        "GET /v2": Operation("The server and its extensions", "", {JSON: reference("ServerMetadata")}),
        "POST /v2/repository/index": Operation(
            "Which models there are",
            "Every model that the settings name, loaded or not.",
            answer={JSON: reference("RepositoryIndex")},
            request={JSON: reference("RepositoryIndexRequest")},
            examples={JSON: {"ready": True}},
            body_required=False,
            errors=(413, 415),
        ),
        "POST /v2/repository/models/{model}/load": _change(
            "Load a model", "Loads the version that its alias names now, beside the one that answers meanwhile."
        ),
        "POST /v2/repository/models/{model}/unload": _change("Unload a model", "Gives its memory back."),
    },
)
