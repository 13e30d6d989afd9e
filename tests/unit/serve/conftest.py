"""A data plane over a small real model, and the application over it, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from serve.dataplane import DataPlane, ServedModel
from serve.gateway.admission import Bounds
from serve.gateway.asgi import Gateway, build
from serve.gateway.transports import TRANSPORTS
from serve.placement.inline import Inline
from serve.runtimes.onnx import OnnxRuntime
from serve.validation import InputSchema
from tests.unit.serve import tiny

MAX_ROWS = 500
MAX_BODY = 200_000


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def served(model_file: Path) -> ServedModel:
    runtime = OnnxRuntime()
    runtime.load(model_file, threads=1)
    return ServedModel(tiny.NAME, "7", InputSchema(tiny.NAME, tiny.contract(), MAX_ROWS), Inline(runtime))


@pytest.fixture(scope="session")
def plane(served: ServedModel) -> DataPlane:
    return DataPlane([served], tiny.NAME)


@pytest.fixture(scope="session")
def app(plane: DataPlane) -> Gateway:
    return build(plane, TRANSPORTS, Bounds(MAX_BODY, 5))


class Client:
    """Calls the application in this process, as a test without ``async`` wants it."""

    def __init__(self, app: Gateway) -> None:
        self._app = app

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        import asyncio

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://serve") as client:
                return await client.request(method, path, **options)  # type: ignore[arg-type]

        return asyncio.run(call())

    def get(self, path: str, **options: object) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: object) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture(scope="session")
def client(app: Gateway) -> Client:
    return Client(app)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
