"""A real ``serve run serve.config``, called by the clients of two protocols."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.serve import processes
from tests.integration.serve.conftest import (
    RAY_COMMAND,
    ROOT,
    STOPPED_SECONDS,
    Served,
    Start,
    Store,
    environment,
    patient,
    write_settings,
)
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

FILLED = [row for row in tiny.ROWS if row["depot"] is not None]


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    settings = write_settings(tmp_path_factory.mktemp("served"), store.uri)
    running = start(settings, RAY_COMMAND)
    running.wait_until_ready()
    return running


def test_tritonclient_gets_predictions(served: Served) -> None:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(tiny.NAME)
    assert client.is_model_ready(tiny.NAME, "1")
    assert client.get_model_metadata(tiny.NAME)["versions"] == ["1"]
    inputs = []
    for name, values in tiny.columns(FILLED).items():
        text = isinstance(values[0], str)
        array = np.array(values, dtype=object if text else np.float32)
        tensor = triton.InferInput(name, [len(values)], "BYTES" if text else "FP32")
        tensor.set_data_from_numpy(array, binary_data=False)
        inputs.append(tensor)
    result = client.infer(tiny.NAME, inputs, request_id="from-triton")
    np.testing.assert_allclose(result.as_numpy("probability"), tiny.expected(FILLED), rtol=1e-6)
    assert result.get_response()["id"] == "from-triton"
    assert result.get_response()["model_version"] == "1"


def test_every_answer_names_its_request_once_and_its_model(served: Served) -> None:
    response = patient.post(
        f"{served.url}/v2/models/{tiny.NAME}/infer", json=tiny.infer_body(), headers={"x-request-id": "mine"}
    )
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert (response.headers["model-name"], response.headers["model-version"]) == (tiny.NAME, "1")
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], tiny.expected(), rtol=1e-6)


@pytest.mark.parametrize("name", ["dataframe_split", "dataframe_records", "inputs", "instances"])
def test_invocations_answers_as_mlflow_s_own_server_for_the_same_model(served: Served, store: Store, name: str) -> None:
    import mlflow
    from mlflow.pyfunc import scoring_server

    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    documents: dict[str, object] = {
        "dataframe_split": {
            "columns": list(tiny.FEATURES),
            "data": [[row[column] for column in tiny.FEATURES] for row in FILLED],
        },
        "dataframe_records": FILLED,
        "inputs": tiny.columns(FILLED),
        "instances": FILLED,
    }
    body = json.dumps({name: documents[name]})
    model = mlflow.pyfunc.load_model(f"models:/{tiny.NAME}/1")
    theirs = scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema())
    ours = patient.post(f"{served.url}/invocations", content=body, headers={"content-type": "application/json"})
    assert (ours.status_code, theirs.status) == (200, 200), ours.text
    assert ours.json() == json.loads(theirs.response)


def test_a_mistake_is_answered_in_each_protocol_s_shape_through_haproxy(served: Served) -> None:
    body: Any = tiny.infer_body()
    body["inputs"][2]["data"][1] = None
    response = patient.post(f"{served.url}/v2/models/{tiny.NAME}/infer", json=body)
    assert (response.status_code, response.json()) == (
        400,
        {"error": "model parcels, column 'weight', row 1: expected a number, got null"},
    )
    assert patient.get(f"{served.url}/v2/models/letters").status_code == 404
    assert patient.get(f"{served.url}/invocations").json()["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_and_the_server_goes_on(served: Served, chunked: bool) -> None:
    big = b"[" + b" " * 150_000 + b"]"
    content = iter([big[start : start + 10_000] for start in range(0, len(big), 10_000)]) if chunked else big
    url = f"{served.url}/v2/models/{tiny.NAME}/infer"
    response = patient.post(url, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert patient.post(url, json=tiny.infer_body()).status_code == 200


def test_a_large_batch_is_answered_whole(served: Served) -> None:
    rows = FILLED * 400
    response = patient.post(f"{served.url}/v2/models/{tiny.NAME}/infer", json=tiny.infer_body(rows))
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], tiny.expected(rows), rtol=1e-6)


def test_nothing_listens_beyond_loopback(served: Served) -> None:
    loopback = ("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")
    found = processes.listening_also_on(served.process.pid, f"127.0.0.1:{served.port}")
    assert len(found) > 10
    assert {address: owner for address, owner in found.items() if not address.startswith(loopback)} == {}


def test_predict_prints_a_table_with_the_version_and_the_latency(served: Served, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(tiny.ROWS))
    command = [sys.executable, "-m", "serve", "predict", tiny.NAME, "--url", served.url]
    ran = subprocess.run([*command, "--rows", str(rows)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"parcels version 1  3 rows  \d+\.\d ms", ran.stdout)
    assert f"{tiny.expected()[0]:.6f}" in ran.stdout
    ran = subprocess.run([*command, "--rows", "-"], cwd=ROOT, capture_output=True, text=True, input='{"zone": "south"}')
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "column 'depot'" in ran.stderr


def test_a_second_serve_on_the_same_port_is_refused_in_one_line(served: Served) -> None:
    ran = subprocess.run(
        RAY_COMMAND, cwd=ROOT, env=environment(served.settings), capture_output=True, text=True, timeout=400
    )
    assert ran.returncode == 2
    assert f"error: http.port 127.0.0.1:{served.port} can't be listened on" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert patient.get(f"{served.url}/v2/health/ready").status_code == 200


def test_two_serves_on_one_machine_do_not_answer_for_each_other(served: Served, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    other = start(write_settings(tmp_path, Store(folder, bias=3.0).uri), RAY_COMMAND)
    other.wait_until_ready()
    listening = [processes.listening(running.process.pid).keys() for running in (served, other)]
    assert listening[0] & listening[1] == set()

    def scores(running: Served) -> set[float]:
        url = f"{running.url}/v2/models/{tiny.NAME}/infer"
        answers = [patient.post(url, json=tiny.infer_body(tiny.ROWS[:1])).json() for _ in range(50)]
        return {round(answer["outputs"][1]["data"][0], 3) for answer in answers}

    score = {0.715}
    assert (scores(served), scores(other)) == (score, {3.715})
    other.stop(signal.SIGINT)
    assert scores(served) == score


def test_ctrl_c_stops_everything_soon_and_frees_the_port(served: Served) -> None:
    haproxy = processes.haproxy_config(served.process.pid)
    took = served.stop(signal.SIGINT)
    assert took < STOPPED_SECONDS
    assert "Traceback" not in served.log.read_text()
    assert processes.left_with(haproxy) == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", served.port))
