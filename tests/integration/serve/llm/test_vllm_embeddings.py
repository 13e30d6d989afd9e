"""A real vLLM that makes vectors: the small language model's states, on a real Ray Serve."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve.gateway.errors import BackendError
from serve.llm.backend import Completed, Tokens
from serve.llm.deployed.backend import DeployedBackend
from tests.integration.serve.llm import vllm_on_ray
from tests.integration.serve.llm.vllm_on_ray import Run

pytestmark = pytest.mark.integration

NAME = "vectors"


@pytest.fixture(scope="module")
def backend(run: Run) -> Iterator[DeployedBackend]:
    with vllm_on_ray.serving(run):
        settings = vllm_on_ray.settings(arguments={"runner": "pooling", "convert": "embed"})
        yield vllm_on_ray.deploy(NAME, settings, "language")


async def whole(backend: DeployedBackend, body: dict[str, Any]) -> Completed:
    found = await backend.run("embeddings", body)
    assert isinstance(found, Completed)
    return found


def test_as_numbers(backend: DeployedBackend, run: Run) -> None:
    body = {"model": NAME, "input": ["a cat", "a kitten", "the stock market fell"]}
    found = run(whole(backend, body))
    cat, kitten, market = (np.array(entry["embedding"]) for entry in found.document["data"])
    assert cat @ kitten > cat @ market
    assert found.tokens == Tokens(found.document["usage"]["prompt_tokens"])


def test_as_base64(backend: DeployedBackend, run: Run) -> None:
    body = {"model": NAME, "input": "a cat"}
    [plain] = run(whole(backend, body)).document["data"]
    [packed] = run(whole(backend, body | {"encoding_format": "base64"})).document["data"]
    read = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert np.allclose(read, plain["embedding"], atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": []}, None, None),
        ({"input": None}, "invalid_type", "input"),
        ({"input": "x" * 100_000}, "context_length_exceeded", "input"),
        ({"input": ["x"] * 3000}, "invalid_value", "input"),
        ({"input": [10**9]}, None, None),
        ({"encoding_format": "bytes"}, "invalid_value", "encoding_format"),
        ({"dimensions": -3}, None, None),
    ],
)
def test_what_is_wrong_is_said(
    backend: DeployedBackend, run: Run, fields: dict[str, Any], code: str | None, param: str | None
) -> None:
    with pytest.raises(BackendError) as caught:
        run(backend.run("embeddings", {"model": NAME, "input": "x"} | fields))
    assert caught.value.status == 400
    assert code is None or caught.value.openai_code == code
    assert caught.value.param == param


def test_the_model_does_not_chat(backend: DeployedBackend, run: Run) -> None:
    with pytest.raises(BackendError) as caught:
        run(backend.run("chat", {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}))
    assert caught.value.status == 404
