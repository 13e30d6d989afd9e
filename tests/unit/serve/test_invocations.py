"""MLflow's scoring protocol over the application, in this process, over a real model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from importlib.metadata import version
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.dataplane import DataPlane, Result, ServedModel
from serve.gateway.admission import Bounds
from serve.gateway.asgi import build
from serve.gateway.errors import BadRequest, InputRejected, MalformedRequest
from serve.gateway.invocations import LARGEST_FRAME, decode_request, encode_response
from serve.gateway.invocations_csv import decode_csv
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
        (client.post("/invocations", content=b"a", headers={"content-type": "text/plain"}), 415, "BAD_REQUEST"),
        (client.get("/version/x"), 404, "ENDPOINT_NOT_FOUND"),
    ):
        assert (response.status_code, response.json()["error_code"]) == (status, code)


def test_of_several_models_one_must_be_the_default(served: ServedModel) -> None:
    client = Client(build(DataPlane([served]), TRANSPORTS, Bounds(10_000, 5)))
    response = client.post("/invocations", json={"inputs": tiny.columns()})
    assert (response.status_code, response.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected a JSON object with one of dataframe_split"),
        ({}, "expected exactly one of"),
        ({"inputs": {}, "instances": []}, "got inputs, instances"),
        ({"instances": [{"a": 1, "b": 2}, {"a": 1}]}, "instances[1]: expected the keys of the other rows, got no 'b'"),
        ({"dataframe_split": {"data": [[1]]}}, "dataframe_split.columns: expected an array of strings, got none"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [1, 2]}}, "index: expected an array with"),
        ({"dataframe_split": {"columns": ["b"], "data": {"a": [1]}}}, "data: expected the columns ['b'], got ['a']"),
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
        ({"dataframe_split": {"columns": ["a"], "data": 3}}, "dataframe_split.data: expected an array of rows"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "data[1]: expected 1 values, got [1, 2]"),
    ],
)
def test_a_malformed_request_is_told_where(document: object, message: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        decode_request(document)
    assert message in str(caught.value)


HEADER = "zone,depot,weight,hour\n"


def post_csv(client: Client, text: str) -> httpx.Response:
    return client.post("/invocations", content=text.encode(), headers={"content-type": "text/csv; charset=UTF-8"})


def test_csv_gets_the_same_answer_as_json(client: Client) -> None:
    rows = [",".join("" if row[name] is None else str(row[name]) for name in tiny.FEATURES) for row in tiny.ROWS]
    response = post_csv(client, HEADER + "\n".join(rows))
    assert response.status_code == 200, response.text
    assert response.json() == client.post("/invocations", json={"dataframe_records": tiny.ROWS}).json()
    assert response.headers["model-version"] == "7"


@pytest.mark.parametrize("body", ["h,e\n1,2", HEADER, HEADER + "a,b,c,d\n", "", HEADER + "a,b,1,2,3", "\0"])
def test_what_is_wrong_with_csv_is_the_client_s_mistake(client: Client, body: str) -> None:
    response = post_csv(client, body)
    assert (response.status_code, set(response.json())) == (400, {"error_code", "message"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "south,,1,2\nsouth,,heavy,2\n", "column 'weight', row 1: expected a number, got string 'heavy'"),
        (HEADER + "south,,1,2\nsouth,,2,1e999\n", "column 'hour', row 1: expected a number, got string '1e999'"),
        (HEADER + "south,,1,2\nsouth,,1,2,3\n", "Expected 4 fields in line 3, saw 5"),
        (HEADER + "south,,1,2,3\n", "row 0: expected 4 values, as in the header, got 5"),
        (HEADER + "\n".join(["south,,1,2"] * 501), "expected 1 to 500 rows, got more"),
        ("zone,zone\n", "the header: expected each column once"),
        (HEADER + "," * 990_000, "row 0: expected 4 values, as in the header, got 990001"),
        (HEADER + "a,b,1,2\n" + "," * 990_000, "Expected 4 fields in line 3, saw 990001"),
        ("\n" * 2_000_000 + HEADER, "the body has no header"),
        (HEADER + "\n" * 2_000_000, "more than 1000000 characters"),
        ("\n \n", "the body has no header"),
        ('"' + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_wrong_csv_is_told_where(served: ServedModel, text: str, message: str) -> None:
    with pytest.raises((MalformedRequest, InputRejected)) as caught:
        decode_csv(text.encode(), served)
    assert message in str(caught.value)


def test_rows_of_csv_are_not_read_where_the_header_is_another_model_s(served: ServedModel) -> None:
    assert decode_csv(b"a,b\n1,2\n", served) == {"a": [], "b": []}


def test_values_of_csv_are_python_s_own_and_missing_ones_none(served: ServedModel) -> None:
    columns = decode_csv(f"{HEADER}south,NA,1.5,\n007,x,2,7\n".encode(), served)
    assert columns == {"zone": ["south", "007"], "depot": [None, "x"], "weight": [1.5, 2.0], "hour": [None, 7.0]}
    kinds = {type(value) for column in columns.values() for value in column}
    assert kinds == {str, float, type(None)}


def test_an_index_that_pandas_wrote_is_left_out(served: ServedModel) -> None:
    frame = pd.DataFrame(tiny.columns())
    assert decode_csv(frame.to_csv().encode(), served) == decode_csv(frame.to_csv(index=False).encode(), served)


def test_records_that_share_no_key_are_refused_before_they_multiply() -> None:
    rows = [{str(index): 1} for index in range(int(LARGEST_FRAME**0.5) + 1)]
    for name in ("dataframe_records", "inputs", "instances"):
        with pytest.raises(MalformedRequest, match="are more than"):
            decode_request({name: rows})
    with pytest.raises(MalformedRequest, match="are more than"):
        decode_request({"inputs": {"a": [1] * len(rows)} | {str(index): 1 for index in range(len(rows))}})


def test_a_large_csv_does_not_hold_up_other_requests(served: ServedModel) -> None:
    app = build(DataPlane([served], tiny.NAME), TRANSPORTS, Bounds(32_000_000, 30))
    body = (HEADER + "south,north,1,2\n" * 500).encode() + b'"' + b"south,north,1,2\n" * 900_000

    async def longest_pause() -> tuple[int, float]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://serve") as client:
            call = client.post("/invocations", content=body, headers={"content-type": "text/csv"})
            request = asyncio.create_task(call)
            longest, seen = 0.0, time.perf_counter()
            while not request.done():
                await asyncio.sleep(0.001)
                longest, seen = max(longest, time.perf_counter() - seen), time.perf_counter()
            return request.result().status_code, longest

    def holds_up_others() -> bool:
        status, pause = asyncio.run(longest_pause())
        assert status == 400
        return pause >= 1

    # What else the machine does may hold them up once, or twice.
    assert not all(holds_up_others() for _ in range(3))


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; Charset=UTF-8", 200),
        ('application/json; charset="utf-8";', 200),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=utf8", 415),
        ("application/json; format=pandas-split", 415),
        ("application/vnd.apache.parquet", 415),
        (";", 415),
        ("", 200),
    ],
)
def test_only_json_and_csv_in_utf_8_are_understood(client: Client, media_type: str, status: int) -> None:
    response = client.post(
        "/invocations", content=json.dumps({"instances": tiny.ROWS}), headers={"content-type": media_type}
    )
    assert response.status_code == status, response.text


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


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage | st.dictionaries(st.sampled_from(sorted(DOCUMENTS)), garbage, min_size=1, max_size=1))
def test_any_garbage_is_the_client_s_mistake_and_never_ours(client: Client, document: object) -> None:
    response = client.post("/invocations", json=document)
    assert 400 <= response.status_code < 500, response.text
    assert set(response.json()) == {"error_code", "message"}


cells = st.sampled_from(["south", "", "1.5", "NA", "heavy", '"a""b"', '"', "1e999", "-0", "\0", " ", "é", "True"])
tables = st.lists(st.lists(cells, max_size=6).map(",".join), max_size=5).map(lambda lines: HEADER + "\n".join(lines))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: HEADER.encode() + tail) | tables.map(str.encode)
)
def test_any_bytes_as_csv_are_columns_of_plain_values_or_a_bad_request(served: ServedModel, body: bytes) -> None:
    columns: dict[str, Any] = {}
    with contextlib.suppress(BadRequest):
        columns = decode_csv(body, served)
    kinds = {type(value) for column in columns.values() for value in column}
    assert kinds <= {str, float, type(None)}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60), st.sampled_from(["application/json", "text/csv", ""]) | st.text("ajsonv/;=- ", max_size=9)
)
def test_any_bytes_of_any_media_type_are_never_our_mistake(client: Client, body: bytes, media_type: str) -> None:
    response = client.post("/invocations", content=body, headers={"content-type": media_type})
    assert 400 <= response.status_code < 500, response.text
