"""A data plane over a small real model, and the application over it, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Router

from serve.dataplane import DataPlane, ServedModel
from serve.gateway.asgi import Limits, build
from serve.gateway.transports import TRANSPORTS
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
    return ServedModel(tiny.NAME, "7", InputSchema(tiny.NAME, tiny.contract(), MAX_ROWS), runtime)


@pytest.fixture(scope="session")
def plane(served: ServedModel) -> Iterator[DataPlane]:
    made = DataPlane([served], tiny.NAME)
    yield made
    made._threads.shutdown()


@pytest.fixture(scope="session")
def app(plane: DataPlane) -> Router:
    return build(plane, TRANSPORTS, Limits(MAX_BODY, 5))


class Client:
    """Calls the application in this process, as a test without ``async`` wants it."""

    def __init__(self, app: Router) -> None:
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
def client(app: Router) -> Client:
    return Client(app)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
