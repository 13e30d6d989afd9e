"""MLflow's scoring protocol over the application, in this process, over a real model."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.dataplane import DataPlane, Result, ServedModel
from serve.gateway.asgi import Limits, build
from serve.gateway.errors import MalformedRequest
from serve.gateway.invocations import decode_request, encode_response
from serve.gateway.transports import TRANSPORTS
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

SPLIT = {"columns": list(tiny.FEATURES), "data": [[row[name] for name in tiny.FEATURES] for row in tiny.ROWS]}
DOCUMENTS: dict[str, object] = {
    "dataframe_split": SPLIT,
    "dataframe_records": tiny.ROWS,
    "inputs": tiny.columns(),
    "instances": tiny.ROWS,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_gets_the_same_answer(client: Client, name: str) -> None:
    response = client.post("/invocations", json={name: DOCUMENTS[name]})
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    assert [list(row) for row in predictions] == [["probability", "score"]] * 3
    np.testing.assert_allclose([row["probability"] for row in predictions], tiny.expected(), rtol=1e-6)
    assert response.headers["model-version"] == "7"


def test_a_frame_may_have_an_index_and_a_request_params(client: Client) -> None:
    document = {"dataframe_split": SPLIT | {"index": [5, 6, 7]}, "params": {"x": 1}}
    assert client.post("/invocations", json=document).status_code == 200


def test_a_key_that_a_record_lacks_is_null_in_that_row(client: Client) -> None:
    record = {"zone": "south", "weight": 1.0, "hour": 2.0}
    whole = record | {"depot": None}
    lacking = client.post("/invocations", json={"dataframe_records": [record, whole]})
    assert lacking.json()["predictions"][0] == lacking.json()["predictions"][1]
    refused = client.post("/invocations", json={"dataframe_records": [record]})
    assert "column 'depot'" in refused.json()["message"]


def test_ping_health_and_version_answer_as_mlflow_s_server(client: Client) -> None:
    for path in ("/ping", "/health"):
        response = client.get(path)
        assert (response.status_code, response.text) == (200, "\n")
    assert client.get("/version").text == version("mlflow")


def test_errors_have_mlflow_s_shape(client: Client) -> None:
    wrong = client.post("/invocations", json={"inputs": tiny.columns() | {"weight": ["heavy"] * 3}})
    assert wrong.status_code == 400
    assert wrong.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "column 'weight', row 0: expected a number, got string 'heavy'" in wrong.json()["message"]
    for response, status, code in (
        (client.get("/invocations"), 405, "BAD_REQUEST"),
        (client.post("/invocations", content=b"a,b", headers={"content-type": "text/csv"}), 415, "BAD_REQUEST"),
        (client.get("/version/x"), 404, "ENDPOINT_NOT_FOUND"),
    ):
        assert (response.status_code, response.json()["error_code"]) == (status, code)


def test_of_several_models_one_must_be_the_default(served: ServedModel) -> None:
    client = Client(build(DataPlane([served]), TRANSPORTS, Limits(10_000, 5)))
    response = client.post("/invocations", json={"inputs": tiny.columns()})
    assert (response.status_code, response.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected a JSON object with one of dataframe_split"),
        ({}, "expected exactly one of"),
        ({"inputs": {}, "instances": []}, "got inputs, instances"),
        ({"inputs": {"a": [1]}, "extra": 1}, "unknown key 'extra'"),
        ({"inputs": 3}, "inputs: expected an object of columns, got 3"),
        ({"inputs": {}}, "inputs: expected an object of columns"),
        ({"instances": [[1, 2]]}, "instances[0]: expected an object, got [1, 2]"),
        ({"dataframe_records": {}}, "dataframe_records: expected an array of objects"),
        ({"dataframe_records": []}, "dataframe_records: expected an array of objects"),
        ({"dataframe_records": [{}, 1]}, "dataframe_records[1]: expected an object, got 1"),
        ({"dataframe_split": {}}, "dataframe_split: expected an object with columns, data"),
        ({"dataframe_split": {"columns": [1], "data": []}}, "dataframe_split.columns: expected an array of strings"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "expected each column once"),
        ({"dataframe_split": {"columns": ["a"], "data": {}}}, "dataframe_split.data: expected an array of rows"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "data[1]: expected 1 values, got [1, 2]"),
    ],
)
def test_a_malformed_request_is_told_where(document: object, message: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        decode_request(document)
    assert message in str(caught.value)


def test_an_output_of_one_column_is_flat_and_one_of_several_is_an_array_a_row() -> None:
    arrays: dict[str, Any] = {"p": np.array([[0.5], [0.25]]), "q": np.array([[1, 2], [3, 4]])}
    assert json.loads(encode_response(Result("m", "1", arrays))) == {
        "predictions": [{"p": 0.5, "q": [1, 2]}, {"p": 0.25, "q": [3, 4]}]
    }


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*tiny.FEATURES, "columns", "data"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage | st.dictionaries(st.sampled_from(sorted(DOCUMENTS)), garbage, min_size=1, max_size=1))
def test_any_garbage_is_the_client_s_mistake_and_never_ours(client: Client, document: object) -> None:
    response = client.post("/invocations", json=document)
    assert 400 <= response.status_code < 500, response.text
    assert set(response.json()) == {"error_code", "message"}
