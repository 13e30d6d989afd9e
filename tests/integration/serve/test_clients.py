"""Clients that others wrote, on one running Serve with keys on: Triton's over HTTP and gRPC, and KServe's."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import yaml
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from benchmarks.ports import free_port
from tests.integration.serve import processes
from tests.integration.serve.conftest import (
    RAY_COMMAND,
    ROOT,
    Served,
    Start,
    Store,
    bearer,
    keys,
    patient,
    write_settings,
)
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

FILLED = [row for row in tiny.ROWS if row["depot"] is not None]
MANY = FILLED * 5000
"""Some tens of milliseconds of work, and compressed well below the limit of a body."""

SHORT_SECONDS = 0.0003
"""A quick machine has done the work in two milliseconds."""


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("clients")
    settings = write_settings(
        folder,
        store.uri,
        access={"keys": f"sqlite:///{folder / 'keys.db'}"},
        grpc={"port": free_port()},
        http={"port": free_port(), "max_body_bytes": 4_000_000},
        ingress={"cpus": 0.5},
        models={tiny.NAME: {"max_rows": len(MANY)}},
    )
    running = start(settings, RAY_COMMAND)
    running.wait_until_ready()
    return running


@pytest.fixture(scope="module")
def key(served: Served) -> str:
    """A key of ``clients``, made while Serve runs."""
    return working_key(served, "clients")


def working_key(served: Served, *arguments: str) -> str:
    text = keys(served.settings, "create", *arguments)[-1]
    until = time.monotonic() + 60
    while patient.get(f"{served.url}/v2", headers=bearer(text)).status_code != 200:
        assert time.monotonic() < until, "the key does not work a minute after it was made"
        time.sleep(0.05)
    return text


@pytest.fixture
def http(served: Served) -> Iterator[Any]:
    with triton_http.InferenceServerClient(served.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def over_grpc(served: Served) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(grpc_address(served)) as client:
        yield client


def grpc_address(served: Served) -> str:
    return f"127.0.0.1:{yaml.safe_load(served.settings.read_text())['grpc']['port']}"


def tensors(module: Any, rows: list[dict[str, object]] = FILLED, **options: Any) -> list[Any]:
    """Inputs of one of Triton's clients."""
    found = []
    for name, values in tiny.columns(rows).items():
        text = isinstance(values[0], str)
        array = np.array(values, dtype=object if text else np.float32)
        tensor = module.InferInput(name, [len(values)], "BYTES" if text else "FP32")
        tensor.set_data_from_numpy(array, **options)
        found.append(tensor)
    return found


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_triton_s_http_client_gets_predictions(http: Any, key: str, binary: bool, coding: str | None) -> None:
    result = http.infer(
        tiny.NAME,
        tensors(triton_http, FILLED * 200, binary_data=binary),
        outputs=[triton_http.InferRequestedOutput("probability", binary_data=binary)],
        request_id="from-triton",
        headers=bearer(key),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    np.testing.assert_allclose(result.as_numpy("probability"), tiny.expected(FILLED * 200), rtol=1e-6)
    assert result.get_response()["id"] == "from-triton"
    assert result.get_response()["model_version"] == "1"


def test_triton_s_http_client_gets_metadata_and_the_repository_s_index(http: Any, key: str) -> None:
    assert http.is_server_live()
    assert http.is_server_ready()
    assert http.is_model_ready(tiny.NAME, headers=bearer(key))
    assert "model_repository" in http.get_server_metadata(headers=bearer(key))["extensions"]
    assert http.get_model_metadata(tiny.NAME, headers=bearer(key))["versions"] == ["1"]
    (entry,) = http.get_model_repository_index(headers=bearer(key))
    assert (entry["name"], entry["version"], entry["state"]) == (tiny.NAME, "1", "READY")


def test_triton_s_grpc_client_gets_predictions_metadata_and_the_repository_s_index(over_grpc: Any, key: str) -> None:
    assert over_grpc.is_server_live()
    assert over_grpc.is_server_ready()
    assert over_grpc.is_model_ready(tiny.NAME, headers=bearer(key))
    result = over_grpc.infer(tiny.NAME, tensors(triton_grpc), request_id="raw", headers=bearer(key))
    np.testing.assert_allclose(result.as_numpy("probability"), tiny.expected(FILLED), rtol=1e-6)
    assert (result.get_response().id, result.get_response().model_version) == ("raw", "1")
    assert over_grpc.get_server_metadata(headers=bearer(key)).name == "ml-training-deployment"
    metadata = over_grpc.get_model_metadata(tiny.NAME, headers=bearer(key))
    assert (list(metadata.versions), len(metadata.inputs)) == (["1"], 4)
    (entry,) = over_grpc.get_model_repository_index(headers=bearer(key)).models
    assert (entry.name, entry.version, entry.state) == (tiny.NAME, "1", "READY")


def test_a_stream_of_triton_s_grpc_client_goes_on_after_an_error(over_grpc: Any, key: str) -> None:
    answers: list[tuple[Any, Any]] = []
    over_grpc.start_stream(lambda result, error: answers.append((result, error)), headers=bearer(key))
    over_grpc.async_stream_infer(tiny.NAME, tensors(triton_grpc), request_id="0")
    over_grpc.async_stream_infer("letters", tensors(triton_grpc), request_id="1")
    over_grpc.async_stream_infer(tiny.NAME, tensors(triton_grpc), request_id="2")
    until = time.monotonic() + 60
    while len(answers) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    over_grpc.stop_stream()
    assert [error is None for _, error in answers] == [True, False, True], answers
    assert "letters" in str(answers[1][1])
    assert [result.get_response().id for result, _ in (answers[0], answers[2])] == ["0", "2"]


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer mtd_0123_no"}, {"authorization": "Basic YTpi"}])
def test_without_a_good_key_nobody_is_answered_but_whoever_asks_for_its_health(
    http: Any, over_grpc: Any, header: dict[str, str]
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        http.infer(tiny.NAME, tensors(triton_http), headers=dict(header))
    assert "401" in str(refused.value.status())
    calls: list[Callable[[], object]] = [
        lambda: over_grpc.infer(tiny.NAME, tensors(triton_grpc), headers=dict(header)),
        lambda: over_grpc.get_model_metadata(tiny.NAME, headers=dict(header)),
        lambda: over_grpc.get_server_metadata(headers=dict(header)),
        lambda: over_grpc.get_model_repository_index(headers=dict(header)),
        lambda: over_grpc.is_model_ready(tiny.NAME, headers=dict(header)),
        lambda: over_grpc.load_model(tiny.NAME, headers=dict(header)),
    ]
    for call in calls:
        with pytest.raises(InferenceServerException) as refused:
            call()
        assert refused.value.status() == "StatusCode.UNAUTHENTICATED"
    assert http.is_server_ready(headers=dict(header))
    assert over_grpc.is_server_ready(headers=dict(header))


def test_a_key_that_is_no_admin_s_can_t_load_by_grpc(over_grpc: Any, key: str) -> None:
    for call in (over_grpc.load_model, over_grpc.unload_model):
        with pytest.raises(InferenceServerException) as refused:
            call(tiny.NAME, headers=bearer(key))
        assert refused.value.status() == "StatusCode.PERMISSION_DENIED"


def test_a_mistake_has_its_code_over_grpc(over_grpc: Any, key: str) -> None:
    with pytest.raises(InferenceServerException) as refused:
        over_grpc.infer("letters", tensors(triton_grpc), headers=bearer(key))
    assert refused.value.status() == "StatusCode.NOT_FOUND"
    with pytest.raises(InferenceServerException) as refused:
        over_grpc.infer(tiny.NAME, tensors(triton_grpc)[1:], headers=bearer(key))
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "zone" in refused.value.message()


def test_a_limit_over_grpc_says_when_to_come_again(served: Served) -> None:
    key = working_key(served, "slow", "--requests-per-second", "0.5")
    with grpc.insecure_channel(grpc_address(served)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def ask_again_and_again() -> None:
            for _ in range(5):
                stub.ServerMetadata(service_pb2.ServerMetadataRequest(), metadata=list(bearer(key).items()))

        with pytest.raises(grpc.RpcError) as refused:
            ask_again_and_again()
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    told = dict(refused.value.trailing_metadata())
    assert int(told["retry-after"]) >= 1
    assert told["request_id"]


def test_a_deadline_that_passes_is_said_and_the_server_goes_on(
    served: Served, http: Any, over_grpc: Any, key: str
) -> None:
    answer = patient.post(
        f"{served.url}/v2/models/{tiny.NAME}/infer",
        json=tiny.infer_body(MANY),
        headers=bearer(key) | {"x-request-timeout-seconds": str(SHORT_SECONDS)},
        timeout=120,
    )
    assert answer.status_code == 408, answer.text
    microseconds = int(SHORT_SECONDS * 1e6)
    with pytest.raises(InferenceServerException) as late:
        http.infer(tiny.NAME, tensors(triton_http, MANY), headers=bearer(key), timeout=microseconds)
    assert "408" in str(late.value.status())
    with pytest.raises(InferenceServerException) as late:
        over_grpc.infer(tiny.NAME, tensors(triton_grpc, MANY), headers=bearer(key), timeout=microseconds)
    assert late.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    with pytest.raises(InferenceServerException) as late:
        over_grpc.infer(tiny.NAME, tensors(triton_grpc, MANY), headers=bearer(key), client_timeout=SHORT_SECONDS)
    assert late.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    over_grpc.infer(tiny.NAME, tensors(triton_grpc, MANY), headers=bearer(key), client_timeout=120)


def test_a_grpc_call_has_a_line_in_the_access_log_under_the_id_that_came_with_its_answer(
    served: Served, key: str
) -> None:
    calls: dict[str, tuple[str, str | None]] = {}
    with grpc.insecure_channel(grpc_address(served)) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelMetadata
        request = service_pb2.ModelMetadataRequest(name=tiny.NAME)
        _, call = infer.with_call(request, metadata=tuple(bearer(key).items()))
        calls[dict(call.trailing_metadata())["request_id"]] = ("good", None)
        with pytest.raises(grpc.RpcError) as refused:
            infer.with_call(request)
        calls[dict(refused.value.trailing_metadata())["request_id"]] = ("refused", "Unauthenticated")
    folder = served.settings.parent / "logs"
    until = time.monotonic() + 60
    found: dict[str, dict[str, object]] = {}
    while len(found) < 2 and time.monotonic() < until:
        time.sleep(0.2)
        lines = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
        found = {line["request_id"]: line for line in lines if line["request_id"] in calls}
    assert len(found) == 2
    for request_id, (kind, reason) in calls.items():
        line = found[request_id]
        assert (line["protocol"], line["path"]) == (
            "open_inference_grpc",
            "/inference.GRPCInferenceService/ModelMetadata",
        )
        assert (line["status"], line.get("reason")) == ((200, None) if kind == "good" else (401, reason))
        assert line["caller"] == (key.split("_")[1] if kind == "good" else "-")


def test_a_grpc_call_through_serve_s_own_proxy_is_answered_too(served: Served, key: str) -> None:
    # Where HAProxy sends a call while it knows of no replica: just after the start, or while the only one restarts.
    (address,) = processes.in_haproxy_config(served.process.pid, r"server SERVE_PROXY_ACTOR\S+ (\S+) proto h2")
    with triton_grpc.InferenceServerClient(address) as client:
        result = client.infer(tiny.NAME, tensors(triton_grpc), headers=bearer(key))
        np.testing.assert_allclose(result.as_numpy("probability"), tiny.expected(FILLED), rtol=1e-6)
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            client.infer(tiny.NAME, tensors(triton_grpc))


KSERVE = ROOT / "build" / "peers" / "kserve"
KSERVE_VERSION = "0.21.0"
KSERVE_SCRIPT = """
import asyncio, json, os, sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient

url, address, model = sys.argv[1:]
columns = json.loads(os.environ["COLUMNS"])
headers = {"authorization": "Bearer " + os.environ["KEY"]}


def request(binary):
    inputs = []
    for name, values in columns.items():
        text = isinstance(values[0], str)
        tensor = InferInput(name, [len(values)], "BYTES" if text else "FP32")
        tensor.set_data_from_numpy(np.array(values, dtype=object if text else np.float32), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model, inputs, request_id="from-kserve")


def shown(answer):
    scores = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    return {"id": answer.id, "version": answer.model_version, "probability": scores["probability"]}


async def main():
    rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found = {
        "ready": await rest.is_server_ready(url),
        "live": await rest.is_server_live(url),
        "model": await rest.is_model_ready(url, model, headers=headers),
        "json": shown(await rest.infer(url, request(False), model_name=model, headers=headers)),
        "binary": shown(await rest.infer(url, request(True), model_name=model, headers=headers)),
    }
    async with InferenceGRPCClient(address, retries=0) as client:
        metadata = tuple(headers.items())
        found["grpc"] = shown(await client.infer(request(True), headers=metadata))
        found["grpc_model"] = await client.is_model_ready(model, headers=metadata)
        try:
            await client.infer(request(True))
        except Exception as error:
            found["grpc_without_key"] = error.code().name
    try:
        await rest.infer(url, request(False), model_name=model)
    except Exception as error:
        found["without_key"] = error.response.status_code
    print(json.dumps(found))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def kserve_python() -> Path:
    """An environment with KServe's client, which asks for another protobuf than MLflow and Ray's lock here."""
    stamp = KSERVE / f"{KSERVE_VERSION}.json"
    python = KSERVE / "bin" / "python"
    if not stamp.is_file():
        uv = ROOT / ".venv" / "bin" / "uv"
        began = time.monotonic()
        for arguments in (
            ["venv", "--quiet", "--clear", "--python", "3.11", str(KSERVE)],
            ["pip", "install", "--quiet", "--python", str(python), f"kserve=={KSERVE_VERSION}"],
        ):
            subprocess.run([str(uv), *arguments], check=True, timeout=300)
        stamp.write_text(json.dumps({"seconds": round(time.monotonic() - began, 1)}), encoding="utf-8")
    return python


def test_kserve_s_clients_get_predictions(served: Served, key: str, kserve_python: Path) -> None:
    ran = subprocess.run(
        [str(kserve_python), "-c", KSERVE_SCRIPT, served.url, grpc_address(served), tiny.NAME],
        env={"COLUMNS": json.dumps(tiny.columns(FILLED)), "KEY": key, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [found[name] for name in ("ready", "live", "model", "grpc_model")] == [True] * 4
    for way in ("json", "binary", "grpc"):
        assert found[way]["id"] == "from-kserve"
        # Its REST client drops the version from what it reads.
        assert found[way]["version"] in ("1", None)
        np.testing.assert_allclose(found[way]["probability"], tiny.expected(FILLED), rtol=1e-6)
    assert (found["without_key"], found["grpc_without_key"]) == (401, "UNAUTHENTICATED")


def test_the_description_names_what_the_running_ingress_answers(served: Served) -> None:
    answer = patient.get(f"{served.url}/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.")
    for path in ("/v2/models/{model}/infer", "/invocations", "/v2/repository/models/{model}/load"):
        assert "post" in document["paths"][path]
    page = patient.get(f"{served.url}/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in page.headers
