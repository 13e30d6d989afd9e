"""The Open Inference Protocol over the application, in this process, over a real model."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.dataplane import Result
from serve.gateway.errors import MalformedRequest
from serve.gateway.open_inference.datatypes import DATATYPES
from serve.gateway.open_inference.request import InferRequest, decode_request
from serve.gateway.open_inference.response import encode_response
from tests.unit.serve import tiny
from tests.unit.serve.conftest import MAX_BODY, Client, chunks

INFER = f"/v2/models/{tiny.NAME}/infer"
JSON = {"content-type": "application/json"}


def outputs(response: Any) -> dict[str, list[float]]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def refused(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    return str(response.json()["error"])


def test_a_batch_is_answered_with_name_version_and_every_output(client: Client) -> None:
    response = client.post(INFER, json=tiny.infer_body())
    answer = response.json()
    assert (answer["model_name"], answer["model_version"]) == (tiny.NAME, "7")
    assert [(o["name"], o["datatype"], o["shape"]) for o in answer["outputs"]] == [
        ("probability", "FP32", [3]),
        ("score", "FP32", [3]),
    ]
    np.testing.assert_allclose(outputs(response)["probability"], tiny.expected(), rtol=1e-6)


def test_the_headers_name_the_request_the_model_and_the_version(client: Client) -> None:
    response = client.post(INFER, json=tiny.infer_body(), headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert (response.headers["model-name"], response.headers["model-version"]) == (tiny.NAME, "7")
    made = {client.get("/v2").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


def test_a_version_may_be_asked_for_and_another_one_is_not_found(client: Client) -> None:
    body = tiny.infer_body()
    assert client.post(f"/v2/models/{tiny.NAME}/versions/7/infer", json=body).status_code == 200
    message = refused(client.post(f"/v2/models/{tiny.NAME}/versions/6/infer", json=body), 404)
    assert "version '6' is not served here; served: parcels version 7" in message


def test_the_id_comes_back_and_is_absent_where_none_was_given(client: Client) -> None:
    assert client.post(INFER, json=tiny.infer_body() | {"id": "é"}).json()["id"] == "é"
    assert "id" not in client.post(INFER, json=tiny.infer_body()).json()


def test_only_the_outputs_asked_for_are_given_and_unknown_parameters_are_ignored(client: Client) -> None:
    body = tiny.infer_body() | {
        "parameters": {"binary_data_output": True, "sequence_id": 7},
        "outputs": [{"name": "score", "parameters": {"binary_data": False}}],
    }
    assert list(outputs(client.post(INFER, json=body))) == ["score"]
    every = body | {"outputs": [], "parameters": {}}
    assert list(outputs(client.post(INFER, json=every))) == ["probability", "score"]


@pytest.mark.parametrize("nested", [True, False])
def test_a_column_may_be_a_matrix_of_one_column(client: Client, nested: bool) -> None:
    body: Any = tiny.infer_body()
    for tensor in body["inputs"]:
        tensor["shape"] = [3, 1]
        if nested:
            tensor["data"] = [[value] for value in tensor["data"]]
    np.testing.assert_allclose(outputs(client.post(INFER, json=body))["probability"], tiny.expected(), rtol=1e-6)


def test_whole_numbers_may_come_as_integers_but_not_as_booleans_or_text(client: Client) -> None:
    def with_weight(datatype: str, value: object) -> Any:
        body: Any = tiny.infer_body(tiny.ROWS[:1])
        body["inputs"][2] |= {"datatype": datatype, "data": [value]}
        return client.post(INFER, json=body)

    assert with_weight("INT64", 3).status_code == 200
    assert "expected a number, got boolean True" in refused(with_weight("BOOL", True), 400)
    assert "expected a number, got string '3'" in refused(with_weight("BYTES", "3"), 400)
    assert "row 0: expected INT64, got 3.5" in refused(with_weight("INT64", 3.5), 400)


def test_metadata_says_what_the_contract_and_the_graph_say(client: Client) -> None:
    assert client.get("/v2").json()["name"] == "ml-training-deployment"
    for path in (f"/v2/models/{tiny.NAME}", f"/v2/models/{tiny.NAME}/versions/7"):
        answer = client.get(path).json()
        assert (answer["name"], answer["versions"], answer["platform"]) == (tiny.NAME, ["7"], "onnx_onnxruntime")
        assert {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in answer["inputs"]} == {
            "zone": ("BYTES", [-1]),
            "depot": ("BYTES", [-1]),
            "weight": ("FP32", [-1]),
            "hour": ("FP32", [-1]),
        }


def test_server_model_and_version_say_that_they_are_ready(client: Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{tiny.NAME}/ready"):
        assert client.get(path).status_code == 200
    assert client.get(f"/v2/models/{tiny.NAME}/versions/7/ready").json() == {"name": tiny.NAME, "ready": True}
    refused(client.get(f"/v2/models/{tiny.NAME}/versions/6/ready"), 404)


def test_an_unknown_model_or_path_is_404_and_a_wrong_method_405_with_the_right_one(client: Client) -> None:
    assert "'letters' is not served here; served: parcels" in refused(client.post("/v2/models/letters/infer"), 404)
    assert "nothing is served at '/v2/modles'" in refused(client.get("/v2/modles"), 404)
    refused(client.get("/"), 404)
    response = client.get(INFER)
    assert "expected POST" in refused(response, 405)
    assert response.headers["allow"] == "POST"
    refused(client.post("/v2/health/ready"), 405)


def test_a_body_over_the_limit_is_413_declared_or_not(client: Client) -> None:
    big = b"[" + b" " * MAX_BODY + b"]"
    assert str(MAX_BODY) in refused(client.post(INFER, content=big, headers=JSON), 413)
    refused(client.post(INFER, content=chunks(big[:1000], big[1000:]), headers=JSON), 413)


def test_a_body_in_chunks_is_put_together(client: Client) -> None:
    body = json.dumps(tiny.infer_body()).encode()
    assert client.post(INFER, content=chunks(body[:10], body[10:20], body[20:]), headers=JSON).status_code == 200


def test_another_media_type_or_encoding_is_415(client: Client) -> None:
    body = json.dumps(tiny.infer_body()).encode()
    refused(client.post(INFER, content=body, headers={"content-type": "text/csv"}), 415)
    refused(client.post(INFER, content=body, headers=JSON | {"content-encoding": "br"}), 415)
    typed = {"content-type": "Application/JSON; charset=utf-8"}
    assert client.post(INFER, content=body, headers=typed).status_code == 200
    assert client.post(INFER, content=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"inputs": [NaN]}', b"[" * 100_000, b'{"a":' * 5000, b"null", b"[]", b'"text"', b"1e999"],
    ids=["empty", "open", "bytes", "NaN", "deep", "deep-objects", "null", "array", "text", "inf"],
)
def test_what_is_not_a_json_object_is_400(client: Client, body: bytes) -> None:
    refused(client.post(INFER, content=body, headers=JSON), 400)


TENSOR = {"name": "weight", "shape": [1], "datatype": "FP32", "data": [1.0]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "inputs must be an array"),
        ({"inputs": {}}, "inputs must be an array"),
        ({"inputs": [], "modle": 1}, "unknown key 'modle'"),
        ({"inputs": [], "id": 5}, "id: expected a string, got 5"),
        ({"inputs": [], "parameters": []}, "parameters: expected an object"),
        ({"inputs": [], "outputs": "score"}, "outputs must be an array"),
        ({"inputs": [], "outputs": [{}]}, "outputs[0].name: expected a string"),
        ({"inputs": [[]]}, "inputs[0]: expected an object"),
        ({"inputs": [TENSOR, TENSOR]}, "inputs[1]: there is an input 'weight' already"),
        ({"inputs": [TENSOR | {"name": None}]}, "inputs[0].name"),
        ({"inputs": [TENSOR | {"datatype": "FP31"}]}, "inputs[0].datatype: expected one of BOOL"),
        ({"inputs": [TENSOR | {"datatype": []}]}, "inputs[0].datatype"),
        ({"inputs": [TENSOR | {"shape": 1}]}, "inputs[0].shape: expected [rows] or [rows, 1]"),
        ({"inputs": [TENSOR | {"shape": [-1]}]}, "inputs[0].shape"),
        ({"inputs": [TENSOR | {"shape": [True]}]}, "inputs[0].shape"),
        ({"inputs": [TENSOR | {"shape": [1, 2]}]}, "inputs[0].shape"),
        ({"inputs": [TENSOR | {"shape": []}]}, "inputs[0].shape"),
        ({"inputs": [TENSOR | {"shape": [2]}]}, "inputs[0].data: expected 2 values, as shape says, got 1"),
        ({"inputs": [TENSOR | {"data": 1.0}]}, "inputs[0].data: expected an array"),
        ({"inputs": [TENSOR | {"data": [[1.0]]}]}, "row 0: expected FP32, got [1.0]"),
        ({"inputs": [{"name": "a", "shape": [1], "datatype": "FP32"}]}, "inputs[0].data: is missing"),
    ],
)
def test_a_malformed_request_is_told_where(document: object, message: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        decode_request(json.dumps(document).encode())
    assert message in str(caught.value)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "zone": st.text(max_size=8) | st.sampled_from(sorted(tiny.HEIGHTS)),
            "depot": st.none() | st.text(max_size=8),
            "weight": finite | st.integers(-(2**31), 2**31),
            "hour": st.none() | finite,
        }
    ),
    min_size=1,
    max_size=100,
)


@settings(max_examples=60)
@given(rows, st.none() | st.text(max_size=20))
def test_any_batch_survives_the_way_there(batch: list[dict[str, object]], identity: str | None) -> None:
    sent = tiny.infer_body(batch) | ({} if identity is None else {"id": identity})
    request = decode_request(json.dumps(sent).encode())
    assert request.columns == tiny.columns(batch)
    assert request.id == identity


@settings(max_examples=60)
@given(
    st.lists(finite, min_size=1, max_size=50),
    st.lists(st.text(max_size=10), min_size=1, max_size=50),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50),
)
def test_any_outputs_survive_the_way_back(floats: list[float], texts: list[str], integers: list[int]) -> None:
    arrays = {
        "floats": np.array(floats, dtype=np.float32),
        "texts": np.array(texts, dtype=object),
        "integers": np.array(integers, dtype=np.int64),
        "matrix": np.asfortranarray(np.array([floats, floats], dtype=np.float64)),
        "flags": np.array([True, False]),
    }
    answer = json.loads(encode_response(Result("m", "1", arrays), InferRequest("a", {}, None))[0])
    back = {output["name"]: output for output in answer["outputs"]}
    assert [np.float32(value) for value in back["floats"]["data"]] == floats
    assert back["texts"]["data"] == texts
    assert back["integers"]["data"] == integers
    assert back["matrix"]["shape"] == [2, len(floats)]
    np.testing.assert_array_equal(back["matrix"]["data"], arrays["matrix"])
    assert (back["flags"]["data"], back["flags"]["datatype"]) == ([True, False], "BOOL")
    assert all(output["datatype"] in DATATYPES for output in back.values())


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
KEYS = ["name", "shape", "datatype", "data", "parameters"]
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(tiny.FEATURES) | garbage,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | garbage,
        "datatype": st.sampled_from(sorted(DATATYPES)) | garbage,
        "data": st.lists(garbage, max_size=4) | garbage,
        "parameters": st.just({}) | garbage,
    },
)
requests = garbage | st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=5) | garbage},
    optional={"outputs": st.lists(st.fixed_dictionaries({"name": garbage}), max_size=2) | garbage, "id": garbage},
)


@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests)
def test_any_garbage_is_the_client_s_mistake_and_never_ours(client: Client, document: object) -> None:
    response = client.post(INFER, content=json.dumps(document).encode(), headers=JSON)
    assert 400 <= response.status_code < 500, response.text
    assert list(response.json()) == ["error"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_the_client_s_mistake_and_never_ours(client: Client, body: bytes) -> None:
    refused(client.post(INFER, content=body, headers=JSON), 400)


@settings(max_examples=60)
@given(garbage)
def test_decoding_raises_nothing_but_our_own_errors(document: object) -> None:
    with contextlib.suppress(MalformedRequest):
        decode_request(json.dumps(document).encode())


def test_a_probability_is_not_rounded_on_its_way(client: Client) -> None:
    data = outputs(client.post(INFER, json=tiny.infer_body()))["probability"]
    assert all(math.isclose(np.float32(value), value, rel_tol=1e-7) for value in data)
