"""``/invocations`` beside ``mlflow models serve`` for the same version: the same bodies, the answers compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import free_port
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.admission import Bounds
from serve.gateway.asgi import build
from serve.gateway.transports import TRANSPORTS
from serve.placement.inline import Inline
from serve.runtimes.onnx import OnnxRuntime
from serve.validation import InputSchema
from tests.integration.serve.conftest import Store
from tests.integration.serve.scoring_bodies import ANSWERED, DEVIATIONS, REFUSED, Body
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

pytestmark = pytest.mark.integration

START_SECONDS = 500


@pytest.fixture(scope="module")
def mlflow(store: Store) -> Iterator[httpx.Client]:
    """A real ``mlflow models serve``. It starts a uvicorn, which it finds by ``PATH``."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{tiny.NAME}/1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": tools, "MLFLOW_TRACKING_URI": store.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = store.folder / "mlflow.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=store.folder,
            env=os.environ | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # After a 500 uvicorn closes its connection, so that a kept one would fail at the next request.
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, headers={"connection": "close"})
    started = time.monotonic()
    try:
        while not _answers(client):
            if process.poll() is not None or time.monotonic() - started > START_SECONDS:
                pytest.fail(f"mlflow models serve does not answer:\n{log.read_text()}")
            time.sleep(0.2)
        yield client
    finally:
        client.close()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(120)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def gateway(store: Store) -> Client:
    runtime = OnnxRuntime()
    runtime.load(store.stored("model.onnx"), threads=1)
    served = ServedModel(tiny.NAME, "1", InputSchema(tiny.NAME, tiny.contract(), 500), Inline(runtime))
    return Client(build(DataPlane([served], tiny.NAME), TRANSPORTS, Bounds(100_000, 10)))


def both(mlflow: httpx.Client, gateway: Client, body: Body) -> tuple[httpx.Response, httpx.Response]:
    return (
        mlflow.post("/invocations", content=body.content, headers=body.headers),
        gateway.post("/invocations", content=body.content, headers=body.headers),
    )


def has_mlflow_s_shape(refusal: httpx.Response) -> bool:
    return refusal.json().keys() == {"error_code", "message"} and all(map(str.strip, refusal.json().values()))


@pytest.mark.parametrize("name", ANSWERED)
def test_what_mlflow_answers_is_answered_the_same(mlflow: httpx.Client, gateway: Client, name: str) -> None:
    theirs, ours = both(mlflow, gateway, ANSWERED[name])
    assert (theirs.status_code, ours.status_code) == (200, 200), (theirs.text, ours.text)
    assert ours.json() == theirs.json()
    assert ours.headers["content-type"] == theirs.headers["content-type"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_mlflow_refuses_is_refused_the_same(mlflow: httpx.Client, gateway: Client, name: str) -> None:
    theirs, ours = both(mlflow, gateway, REFUSED[name])
    assert ours.status_code == theirs.status_code, (theirs.text, ours.text)
    assert 400 <= ours.status_code < 500
    assert has_mlflow_s_shape(ours)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_from_mlflow_is_one_of_the_table(mlflow: httpx.Client, gateway: Client, name: str) -> None:
    deviation = DEVIATIONS[name]
    theirs, ours = both(mlflow, gateway, deviation.body)
    assert (theirs.status_code, ours.status_code) == (deviation.theirs, deviation.ours), (theirs.text, ours.text)
    if ours.status_code != 200:
        assert has_mlflow_s_shape(ours)


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_the_other_endpoints_answer_the_same(mlflow: httpx.Client, gateway: Client, path: str) -> None:
    theirs, ours = mlflow.get(path), gateway.get(path)
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert mlflow.post(path).status_code == gateway.post(path).status_code == 405
