"""A real text encoder, from its wheel to OpenAI's client and Triton's: exported, registered, verified, served."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
import tritonclient.grpc
import tritonclient.http

from benchmarks.ports import free_port
from demo.text_encoder import text_encoder
from tests.documentation import examples
from tests.integration.serve.conftest import OUR_COMMAND, ROOT, Served, Start, bearer, keys, write_settings
from training.bundle import Bundles
from training.registry import client, local_uri

pytestmark = pytest.mark.integration

NAME, MODEL = "vectors", "minilm"
COMMANDS = examples(ROOT / "docs" / "embeddings.md")
TEXTS = [
    "A parcel was left at the depot.",
    "The package waits in the warehouse.",
    "Interest rates rose again, and stocks fell.",
    "Ein Paket für Zürich – 冬の配達",
    "late " * 200,
]


@dataclass
class Running:
    served: Served
    expected: np.ndarray
    uri: str
    key: str
    grpc: int
    folder: Path

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.served.url}/v1", api_key=self.key, max_retries=0)


def shell(command: str, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "NO_PROXY": "*", **variables}
    ran = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=500, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def register(folder: Path, uri: str) -> None:
    """As the page has it."""
    [command] = [example.program for example in COMMANDS if example.program.startswith("python -m training")]
    shell(command.replace("models/all-minilm-l6-v2", str(folder)), MLFLOW_TRACKING_URI=uri)


def by_torch(folder: Path) -> np.ndarray:
    """As sentence-transformers' page has it: transformers' own tokenizer, the mean over tokens, length 1."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    given = tokenizer(TEXTS, padding="longest", truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = network(**given).last_hidden_state
    mask = given["attention_mask"].unsqueeze(-1).float()
    found: np.ndarray = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()
    return found


@pytest.fixture(scope="module")
def running(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    folder = tmp_path_factory.mktemp("encoder")
    encoder = text_encoder(ROOT / "build" / "language-models")
    uri = local_uri(folder / "mlruns")
    register(encoder, uri)
    grpc = free_port()
    settings = write_settings(
        folder,
        uri,
        access={"required": True, "keys": f"sqlite:///{folder / 'keys.db'}"},
        grpc={"port": grpc},
        models={},
        backends={"mini": {"kind": "onnx", "model": f"registry:{MODEL}@champion", "dollars_per_hour": 3.6}},
        language_models={NAME: {"routes": [{"backend": "mini"}]}},
        usage={"ledger": f"sqlite:///{folder / 'usage.db'}", "flush_seconds": 0.1},
    )
    key = keys(settings, "create", "reader", "--admin")[-1]
    served = start(settings, OUR_COMMAND)
    served.wait_until_ready()
    return Running(served, by_torch(encoder), uri, key, grpc, folder)


def near(found: Any, expected: np.ndarray) -> bool:
    return bool((np.einsum("nd,nd->n", np.asarray(found, np.float64), expected.astype(np.float64)) >= 1 - 1e-6).all())


CALLS = {
    "/v1/embeddings": lambda found: [len(entry["embedding"]) for entry in found["data"]] == [384, 384],
    "/infer": lambda found: found["outputs"][0]["shape"] == [1, 384],
    "/load": lambda found: found == {},
}


@pytest.mark.parametrize("path", CALLS)
def test_a_call_of_the_page_is_answered(running: Running, path: str) -> None:
    [command] = [example.program for example in COMMANDS if f"{path} " in example.program]
    said = shell(command.replace("localhost:8000", running.served.url), SERVE_KEY=running.key)
    assert CALLS[path](json.loads(said))


def test_the_page_has_no_other_command() -> None:
    assert len(COMMANDS) == len(CALLS) + 1


def test_the_check_at_registration_is_in_its_run(running: Running) -> None:
    version = Bundles(running.uri).resolve(MODEL, "champion")
    run = client(running.uri).get_run(version.run_id)
    assert version.kind == "encoder"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["largest_difference"] <= 1e-5
    assert (run.data.params["dims"], run.data.params["max_tokens"]) == ("384", "256")


def test_openai_s_client_gets_torch_s_vectors(running: Running) -> None:
    found = running.openai.embeddings.with_raw_response.create(model=NAME, input=TEXTS)
    answer = found.parse()
    vectors = [entry.embedding for entry in answer.data]
    assert near(vectors, running.expected)
    assert found.headers["model-version"] == "1"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 200
    parcel, package, market = np.array(vectors[:3])
    assert parcel @ package > parcel @ market


def test_triton_s_client_gets_the_same_over_http(running: Running) -> None:
    triton = tritonclient.http.InferenceServerClient(running.served.url.removeprefix("http://"))
    metadata = triton.get_model_metadata(NAME, headers=bearer(running.key))
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [{"name": "vector", "datatype": "FP32", "shape": [-1, 384]}]
    assert triton.is_model_ready(NAME, headers=bearer(running.key))
    found = triton.infer(NAME, [texts(tritonclient.http)], headers=bearer(running.key))
    assert near(found.as_numpy("vector"), running.expected)
    assert found.get_response()["model_version"] == "1"


def test_triton_s_client_gets_the_same_over_grpc(running: Running) -> None:
    triton = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}")
    found = triton.infer(NAME, [texts(tritonclient.grpc)], headers=bearer(running.key))
    assert near(found.as_numpy("vector"), running.expected)
    with pytest.raises(tritonclient.grpc.InferenceServerException, match="1 to 256 tokens") as caught:
        triton.infer(NAME, [texts(tritonclient.grpc, ["late " * 300])], headers=bearer(running.key))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def texts(triton: Any, values: list[str] = TEXTS) -> Any:
    given = triton.InferInput("text", [len(values)], "BYTES")
    given.set_data_from_numpy(np.array([value.encode() for value in values], dtype=object))
    return given


def test_errors_have_each_protocol_s_shape(running: Running) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        running.openai.embeddings.create(model=NAME, input="late " * 300)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    url = f"{running.served.url}/v2/models/{NAME}/infer"
    found = httpx.post(url, json=body, headers=bearer(running.key))
    assert found.status_code == 400
    assert found.json()["error"].startswith(f"model {NAME}, column 'text', row 0: expected")
    assert httpx.post(url, json=body).status_code == 401


def test_every_protocol_s_requests_are_in_the_ledger(running: Running) -> None:
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["late"]}]}
    headers = bearer(running.key) | {"x-request-id": "by-open-inference"}
    httpx.post(f"{running.served.url}/v2/models/{NAME}/infer", json=body, headers=headers).raise_for_status()
    asked = "SELECT model, backend, operation, input_tokens, dollars > 0 FROM uses WHERE request_id = ?"
    found: list[tuple[object, ...]] = []
    # It is written at each flush, away from the requests.
    end = time.monotonic() + 240
    while not found and time.monotonic() < end:
        time.sleep(0.2)
        with closing(sqlite3.connect(running.folder / "usage.db")) as ledger:
            found = ledger.execute(asked, ("by-open-inference",)).fetchall()
    assert found == [(NAME, "mini/1", "embeddings", 3, 1)]
    usage = [sys.executable, "-m", "serve", "usage", "--by", "model", "--settings", str(running.served.settings)]
    ran = subprocess.run(usage, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stderr
    assert NAME in ran.stdout


def test_an_alias_that_moves_is_followed_when_the_model_is_loaded(running: Running) -> None:
    bundles = Bundles(running.uri)
    register(text_encoder(ROOT / "build" / "language-models"), running.uri)
    assert bundles.resolve(MODEL, "challenger").version == "2"
    bundles.set_alias(MODEL, "champion", "2")
    url = f"{running.served.url}/v2/repository"
    httpx.post(f"{url}/models/{NAME}/load", headers=bearer(running.key), timeout=120).raise_for_status()
    found = running.openai.embeddings.with_raw_response.create(model=NAME, input=TEXTS)
    assert found.headers["model-version"] == "2"
    assert near([entry.embedding for entry in found.parse().data], running.expected)
    index = httpx.post(f"{url}/index", headers=bearer(running.key)).json()
    assert index == [{"name": NAME, "version": "2", "state": "READY", "reason": ""}]
    httpx.post(f"{url}/models/{NAME}/unload", headers=bearer(running.key), timeout=120).raise_for_status()
    with pytest.raises(openai.InternalServerError):
        running.openai.embeddings.create(model=NAME, input="late")
