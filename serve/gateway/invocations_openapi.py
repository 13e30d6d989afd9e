"""The description of MLflow's scoring protocol."""

from __future__ import annotations

from serve.gateway.operations import MODEL_HEADERS, TEXT, VALUE, Operation, Protocol, Schema, array, record, reference

JSON = "application/json"
COLUMN = array(VALUE, minItems=1)
NAMED: Schema = {"type": "object", "additionalProperties": VALUE, "minProperties": 1}
COLUMNS: Schema = {"type": "object", "additionalProperties": {"anyOf": [VALUE, COLUMN]}, "minProperties": 1}
PARAMS: Schema = {"description": "Ignored: the models take none."}


def _format(name: str) -> Schema:
    return record({name: reference(name)}, {"params": PARAMS}, title=name)


SCHEMAS: dict[str, Schema] = {
    "dataframe_split": record(
        {"data": {"anyOf": [array(array(VALUE, minItems=1), minItems=1), reference("Records"), COLUMNS]}},
        {
            "columns": {
                "anyOf": [array(TEXT, uniqueItems=True, minItems=1), {"type": "null"}],
                "description": "The columns' names, where data has them not.",
            },
            "index": {
                "anyOf": [{"type": "array"}, {"type": "null"}],
                "description": "An entry a row; only their number counts.",
            },
        },
        description="Rows as arrays beside the columns' names, as pandas' to_dict(orient='split') gives them.",
    ),
    "dataframe_records": reference("Records"),
    "inputs": {"anyOf": [COLUMNS, reference("Records")], "description": "Columns as arrays, or rows as objects."},
    "instances": {
        "anyOf": [reference("Records"), COLUMNS],
        "description": "Rows as objects with the same keys, or columns as arrays.",
    },
    "Records": array(NAMED, minItems=1, description="Rows as objects. A key that a row lacks is null in it."),
    "ScoringRequest": {
        "oneOf": [_format(name) for name in ("dataframe_split", "dataframe_records", "inputs", "instances")],
        "description": "Exactly one of the four formats.",
    },
    "ScoringResponse": record(
        {"predictions": array({"type": "object", "additionalProperties": True})},
        description="One object a row, with an entry per output of the model.",
    ),
    "ScoringError": record(
        {
            "error_code": TEXT | {"description": "MLflow's code, such as INVALID_PARAMETER_VALUE."},
            "message": TEXT | {"description": "What is wrong, with the column and the row where there is one."},
        },
        description="An error in MLflow's shape.",
    ),
}

HEALTHY = Operation(
    "Is the server ready",
    "200 once every model is loaded, 503 before.",
    {JSON: {"const": "\n", "description": "A line end, as of MLflow's own server: not JSON, whatever the type says."}},
)

PROTOCOL = Protocol(
    title="MLflow scoring",
    description="As MLflow's own server has it, for the default model: what calls one works with the other.",
    error="ScoringError",
    schemas=SCHEMAS,
    operations={
        "POST /invocations": Operation(
            "Predict with the default model",
            "JSON in one of four formats, or CSV with a header; both in UTF-8. The model's contract says which "
            "columns there are and what they take; what doesn't keep to it is refused with the column and the row.",
            answer={JSON: reference("ScoringResponse")},
            request={
                JSON: reference("ScoringRequest"),
                "text/csv": TEXT | {"description": "A header and rows. An empty field is a missing value."},
            },
            examples={
                JSON: {"dataframe_records": [{"zone": "south", "weight": 1.5}]},
                "text/csv": "zone,weight\nsouth,1.5\n",
            },
            answer_headers=MODEL_HEADERS,
            errors=(404, 413, 415),
        ),
        "GET /ping": HEALTHY,
        "GET /health": HEALTHY,
        "GET /version": Operation(
            "MLflow's version",
            "The version of the protocol's reference server, which clients ask for.",
            {JSON: TEXT | {"description": "Such as 3.17.2: not JSON, whatever the type says, as of MLflow's own."}},
        ),
    },
)
