"""The function that predicts: the ingress's contract and errors, behind API Gateway's events."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import boto3
import numpy as np
import pytest
from moto import mock_aws

from infra.lambdas import model
from infra.lambdas.events import NotAnHttpEvent
from infra.lambdas.gateway import MOST_ANSWER_BYTES, REFRESH_SECONDS, RETRY_SECONDS
from serve.access.keys import issue
from serve.access.stores import open_store
from serve.runtimes import RUNTIMES
from serve.runtimes.base import Array
from serve.runtimes.onnx import OnnxRuntime
from tests.unit.infra.lambdas.conftest import OPEN, REGION, Clock, Context, Make, answer, event, release
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

KEYED = f"models: {{{tiny.NAME}: {{}}}}\naccess: {{keys: 'KEYS'}}\n"


def asking(path: str, method: str = "GET", body: object = None, **headers: str) -> dict[str, Any]:
    found = event("http_api_v2")
    context = found["requestContext"]
    return {
        **found,
        "rawPath": path,
        "headers": {**found["headers"], **{name.replace("_", "-"): value for name, value in headers.items()}},
        "requestContext": {**context, "http": {**context["http"], "method": method}},
        "body": None if body is None else json.dumps(body),
    }


@pytest.mark.parametrize("name", ["http_api_v2", "http_api_v2_base64", "rest_v1"])
def test_it_predicts_for_each_format_of_event(name: str, make: Make, released: Path) -> None:
    response = make(MODEL_URI=str(released))(event(name), Context())
    assert response["statusCode"] == 200
    found = answer(response)
    assert (found["model_name"], found["model_version"]) == (tiny.NAME, "7")
    np.testing.assert_allclose(found["outputs"][0]["data"], tiny.expected(), rtol=1e-6)
    headers = response.get("headers") or {key: values[0] for key, values in response["multiValueHeaders"].items()}
    assert (headers["model-name"], headers["model-version"]) == (tiny.NAME, "7")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        (f"/v2/models/{tiny.NAME}/infer", "POST", tiny.infer_body()),
        (f"/v2/models/{tiny.NAME}/infer", "POST", {"inputs": []}),
        (f"/v2/models/{tiny.NAME}/infer", "POST", [1]),
        (f"/v2/models/{tiny.NAME}/infer", "DELETE", None),
        (f"/v2/models/{tiny.NAME}/versions/9/infer", "POST", tiny.infer_body()),
        ("/v2/models/others/infer", "POST", tiny.infer_body()),
        ("/invocations", "POST", {"dataframe_records": tiny.ROWS}),
        ("/invocations", "POST", {"dataframe_records": [{"zone": 1}]}),
        (f"/v2/models/{tiny.NAME}", "GET", None),
        ("/v2/health/ready", "GET", None),
        ("/v2", "GET", None),
        ("/nothing/here", "GET", None),
    ],
)
def test_it_answers_as_the_ingress_does(
    path: str, method: str, body: object, make: Make, released: Path, ingress: Client
) -> None:
    function = make(MODEL_URI=str(released))
    response = function(asking(path, method, body), Context())
    options = {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    expected = ingress.request(method, path, **options)
    assert (response["statusCode"], response["body"]) == (expected.status_code, expected.text)
    assert response["headers"].get("content-type") == expected.headers.get("content-type")


def test_a_large_answer_is_compressed_where_the_client_takes_it(make: Make, released: Path) -> None:
    rows = tiny.ROWS * 100
    asked = asking(f"/v2/models/{tiny.NAME}/infer", "POST", tiny.infer_body(rows), accept_encoding="gzip")
    response = make(MODEL_URI=str(released))(asked, Context())
    assert response["headers"]["content-encoding"] == "gzip"
    found = json.loads(gzip.decompress(base64.b64decode(response["body"])))
    np.testing.assert_allclose(found["outputs"][0]["data"], tiny.expected(rows), rtol=1e-6)


def test_an_answer_that_lambda_could_not_give_back_is_an_error_in_the_protocol_s_shape(
    make: Make, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.lambdas.gateway.MOST_ANSWER_BYTES", 50)
    response = make(MODEL_URI=str(released))(event("http_api_v2"), Context())
    assert response["statusCode"] == 413
    assert "send fewer rows" in answer(response)["error"]
    assert MOST_ANSWER_BYTES > 5 * 2**20


def test_an_answer_is_measured_as_lambda_sends_it_with_its_quotes_escaped(
    make: Make, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = make(MODEL_URI=str(released))
    body = function(event("http_api_v2"), Context())["body"]
    sent = len(json.dumps(body))
    assert sent > len(body)
    monkeypatch.setattr("infra.lambdas.gateway.MOST_ANSWER_BYTES", sent)
    assert function(event("http_api_v2"), Context())["statusCode"] == 200
    monkeypatch.setattr("infra.lambdas.gateway.MOST_ANSWER_BYTES", sent - 1)
    assert function(event("http_api_v2"), Context())["statusCode"] == 413


def test_a_warm_start_keeps_the_model(make: Make, released: Path, tmp_path: Path) -> None:
    folder = release(tmp_path / "image")
    function = make(MODEL_URI=str(folder))
    assert function(event("http_api_v2"), Context())["statusCode"] == 200
    for file in folder.iterdir():
        file.unlink()
    assert function(event("http_api_v2"), Context())["statusCode"] == 200


class Held(OnnxRuntime):
    let_go: ClassVar[threading.Event]

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.let_go.wait(10)
        return super().predict(inputs, outputs)


def test_the_time_that_the_invocation_has_left_is_the_request_s(
    make: Make, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "onnx", Held)
    monkeypatch.setattr(Held, "let_go", threading.Event(), raising=False)
    function = make(MODEL_URI=str(released))
    large = asking(f"/v2/models/{tiny.NAME}/infer", "POST", tiny.infer_body(tiny.ROWS * 30))
    late = function(large, Context(left=400))
    Held.let_go.set()
    assert (late["statusCode"], set(answer(late))) == (408, {"error"})
    assert function(large, Context())["statusCode"] == 200


def test_a_direct_invocation_is_told_to_call_the_api(make: Make, released: Path) -> None:
    with pytest.raises(NotAnHttpEvent, match="call the URL of its API"):
        make(MODEL_URI=str(released))(tiny.infer_body(), Context())


def test_loading_another_version_is_refused(make: Make, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    function = make(MODEL_URI=str(released))
    response = function(asking(f"/v2/repository/models/{tiny.NAME}/load", "POST", {}), Context())
    assert response["statusCode"] == 503
    assert "is changed by deploying it" in capsys.readouterr().out
    assert function(event("http_api_v2"), Context())["statusCode"] == 200


def tampered(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes() + b"\n")


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def other_name(folder: Path, _: str) -> None:
    found = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps({**found, "name": "others"}))


def no_release(folder: Path, _: str) -> None:
    (folder / "release.json").write_text('{"name": "parcels"}')


@pytest.mark.parametrize(
    ("spoil", "name", "said"),
    [
        (tampered, "model.onnx", "model.onnx in the registry's store is not what was registered"),
        (tampered, "contract.json", "contract.json in the registry's store is not what was registered"),
        (without, "model.onnx", "has no file model.onnx"),
        (without, "release.json", "release.json is not there"),
        (other_name, "", "the settings serve parcels"),
        (no_release, "", "version: Field required"),
    ],
)
def test_what_is_not_what_was_registered_is_not_served(
    spoil: Any, name: str, said: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = release(tmp_path / "version")
    spoil(folder, name)
    function = make(MODEL_URI=str(folder))
    response = function(event("http_api_v2"), Context())
    assert response["statusCode"] == 503
    assert set(answer(response)) == {"error"}
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "no model is served" in line]
    assert len(logged) == 1
    assert said in logged[0]["message"]
    scored = function(asking("/invocations", "POST", {"dataframe_records": tiny.ROWS}), Context())
    assert (scored["statusCode"], answer(scored)["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert function(asking("/v2/health/ready"), Context())["statusCode"] == 503
    assert function(asking("/v2/health/live"), Context())["statusCode"] == 200


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MODEL_URI": "ftp://somewhere"}, "expected s3://BUCKET/FOLDER"),
        ({}, "expected s3://BUCKET/FOLDER"),
        ({"MODEL_URI": "/f", "MODEL_NAME": "parcels"}, "MODEL_VERSION is not set: set all of"),
        ({"MODEL_URI": "/f", "SERVE_SETTINGS_YAML": "models: {}"}, "SERVE_SETTINGS_YAML: serves nothing"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line_and_503(
    variables: dict[str, str], said: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    response = make(**variables)(event("http_api_v2"), Context())
    assert (response["statusCode"], set(answer(response))) == (503, {"error"})
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"level":"ERROR"' in line]
    assert [said in line["message"] for line in logged] == [True]


def test_digests_of_the_environment_outweigh_those_beside_the_files(make: Make, released: Path, tmp_path: Path) -> None:
    known = json.loads((released / "release.json").read_text())
    variables = {name: known[field] for name, field in model.VARIABLES.items()}
    forged = release(tmp_path / "forged")
    tiny.save(forged, bias=3.0)
    found = json.loads((forged / "release.json").read_text())
    (forged / "release.json").write_text(json.dumps({**found, "version": "8"}))
    assert make(MODEL_URI=str(forged), **variables)(event("http_api_v2"), Context())["statusCode"] == 503
    good = make(MODEL_URI=str(released), **variables)(event("http_api_v2"), Context())
    assert answer(good)["model_version"] == "7"


def test_bytes_that_are_sealed_stay_those_that_were_verified(released: Path, tmp_path: Path) -> None:
    source = model.Folder(released)
    found = model.verified(source, model.release_of(source, {}, tmp_path), tmp_path / "cache")
    with model.sealed(found) as file:
        before = file.read_bytes()
        found.model.write_bytes(b"another")
        assert file.read_bytes() == before
        with pytest.raises(PermissionError):
            file.write_bytes(b"another")
    with pytest.raises(model.DigestMismatch, match="was changed while it was loaded"), model.sealed(found):
        raise AssertionError("it must not be loaded")


@pytest.fixture
def bucket(aws: None, released: Path) -> Any:
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
        for file in released.iterdir():
            s3.put_object(Bucket="artifacts", Key=f"models/parcels/7/{file.name}", Body=file.read_bytes())
        yield s3


def test_the_model_comes_from_a_bucket(bucket: Any, make: Make) -> None:
    function = make(MODEL_URI="s3://artifacts/models/parcels/7/", client=boto3.client)
    assert answer(function(event("rest_v1"), Context()))["model_version"] == "7"


def test_a_folder_that_mlflow_keeps_serves_too(bucket: Any, make: Make, released: Path) -> None:
    known = json.loads((released / "release.json").read_text())
    for name in ("model.onnx", "extra_files/contract.json"):
        bucket.put_object(Bucket="artifacts", Key=f"m/{name}", Body=(released / Path(name).name).read_bytes())
    variables = {name: known[field] for name, field in model.VARIABLES.items()}
    function = make(MODEL_URI="s3://artifacts/m", client=boto3.client, **variables)
    assert function(event("http_api_v2"), Context())["statusCode"] == 200


def test_a_model_larger_than_the_function_takes_is_not_downloaded(
    bucket: Any, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model, "MOST_MODEL_BYTES", 100)
    function = make(MODEL_URI="s3://artifacts/models/parcels/7", client=boto3.client)
    assert function(event("http_api_v2"), Context())["statusCode"] == 503
    assert "bytes, expected at most 100" in capsys.readouterr().out


def test_a_bucket_that_does_not_answer_is_tried_again_later(
    bucket: Any, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    function = make(MODEL_URI="s3://elsewhere/models/parcels/7", client=boto3.client, clock=clock)
    assert function(event("http_api_v2"), Context())["statusCode"] == 503
    bucket.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": REGION})
    for name in ("model.onnx", "contract.json", "release.json"):
        copied = {"Bucket": "artifacts", "Key": f"models/parcels/7/{name}"}
        bucket.copy_object(Bucket="elsewhere", Key=f"models/parcels/7/{name}", CopySource=copied)
    assert function(event("http_api_v2"), Context())["statusCode"] == 503
    clock.now += RETRY_SECONDS
    assert function(event("http_api_v2"), Context())["statusCode"] == 200


def test_the_ingress_s_keys_open_it_and_a_revoked_one_no_longer(make: Make, released: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'keys.db'}"
    store = open_store(uri)
    key, text = issue("test", models=(tiny.NAME,), created=datetime.now(UTC))
    store.add(key)
    clock = Clock()
    function = make(MODEL_URI=str(released), SERVE_SETTINGS_YAML=KEYED.replace("KEYS", uri), clock=clock)

    def status(**headers: str) -> int:
        asked = asking(f"/v2/models/{tiny.NAME}/infer", "POST", tiny.infer_body(), **headers)
        found: int = function(asked, Context())["statusCode"]
        return found

    assert status() == 401
    assert status(authorization="Bearer wrong") == 401
    assert status(authorization=f"Bearer {text}") == 200
    assert function(asking("/v2/health/ready"), Context())["statusCode"] == 200
    store.revoke(key.id, datetime.now(UTC))
    clock.now += REFRESH_SECONDS
    assert status(authorization=f"Bearer {text}") == 401


def test_keys_are_required_unless_the_settings_say_that_they_are_not(make: Make, released: Path) -> None:
    function = make(MODEL_URI=str(released), SERVE_SETTINGS_YAML=f"models: {{{tiny.NAME}: {{}}}}\n")
    assert function(event("http_api_v2"), Context())["statusCode"] == 401
    assert make(MODEL_URI=str(released))(event("http_api_v2"), Context())["statusCode"] == 200


def test_limits_of_a_batch_hold(make: Make, released: Path) -> None:
    limited = OPEN + "limits: {batch_rows: 2}\n"
    function = make(MODEL_URI=str(released), SERVE_SETTINGS_YAML=limited)
    response = function(event("http_api_v2"), Context())
    assert response["statusCode"] == 400
    assert "2 rows" in answer(response)["error"]


def test_requests_are_measured_and_no_body_is_in_the_log(
    make: Make, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = make(MODEL_URI=str(released))
    function(event("http_api_v2"), Context())
    function(asking(f"/v2/models/{tiny.NAME}/infer", "POST", {"inputs": ["planted-canary"]}), Context())
    function(asking("/invocations", "POST", {"dataframe_records": [{"zone": "planted-canary"}]}), Context())
    printed = capsys.readouterr().out
    assert "planted-canary" not in printed
    lines = [json.loads(line) for line in printed.splitlines()]
    metrics = [line for line in lines if "_aws" in line]
    requests = [line for line in metrics if "ingress_requests_total" in line]
    assert [line["code"] for line in requests] == ["200", "400", "400"]
    assert (requests[0]["model"], requests[0]["version"], requests[0]["protocol"]) == ("parcels", "7", "open_inference")
    assert all(line["ingress_request_seconds"][0] > 0 for line in requests)
    assert sum(line["cold_starts"][0] for line in metrics if "cold_starts" in line) == 1
    assert [line["ingress_rows_total"] for line in metrics if "ingress_rows_total" in line] == [[3.0]]
    refused = [line for line in lines if line.get("message") == "refused"]
    assert [line["http_reason"] for line in refused] == ["MalformedRequest", "InputRejected"]
    assert refused[0]["correlation_id"] == "JKJaXmPLvHcESHA="
