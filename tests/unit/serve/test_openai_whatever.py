"""Whatever comes to OpenAI's paths is answered, or refused in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.dataplane import DataPlane
from serve.gateway.admission import Bounds
from serve.gateway.asgi import Gateway, build
from serve.gateway.transports import transports
from tests.unit.serve.language import Plane

CHAT = "/v1/chat/completions"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
NAMES = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "n", "stop", "tools", "prompt", "input", "best_of", "logit_bias"]
)


def quiet() -> Gateway:
    data = DataPlane([], None)
    data.language = Plane(steps=[{"choices": []}])
    return build(data, transports(docs=False, language=True), Bounds(100_000, 20))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.sampled_from([CHAT, "/v1/completions", "/v1/embeddings"]),
    named=st.booleans(),
    body=st.dictionaries(NAMES, VALUES) | VALUES,
)
def test_whatever_json_comes_is_answered_or_refused_in_openai_s_shape(path: str, named: bool, body: object) -> None:
    if named and isinstance(body, dict):
        body["model"] = "small"

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=quiet()), base_url="http://serve") as asking:
            return await asking.post(path, content=json.dumps(body), headers={"content-type": "application/json"})

    response = asyncio.run(ask())
    if response.status_code == 200:
        assert response.headers["model-name"] == "small"
    else:
        assert 400 <= response.status_code < 500
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}


@settings(max_examples=200)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps(text).encode("utf-8")))
def test_whatever_bytes_come_are_refused_in_openai_s_shape(content: bytes) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=quiet()), base_url="http://serve") as asking:
            return await asking.post(CHAT, content=content)

    response = asyncio.run(ask())
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
