"""What holds for every transport: nothing leaks, nothing hangs, every request has an id."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from serve.dataplane import DataPlane, ServedModel
from serve.gateway.asgi import Limits, build
from serve.gateway.transports import TRANSPORTS
from serve.runtimes.base import Array, ModelMetadata, RuntimeFailure
from serve.validation import InputSchema
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

SECRET = "password=hunter2"


class Fails:
    """A runtime that fails, as a broken one would."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.metadata = ModelMetadata("fails", (), ())

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        raise self.error


def failing(error: Exception) -> Client:
    schema = InputSchema(tiny.NAME, tiny.contract(), 10)
    plane = DataPlane([ServedModel(tiny.NAME, "1", schema, Fails(error))], tiny.NAME)  # type: ignore[arg-type]
    return Client(build(plane, TRANSPORTS, Limits(100_000, 5)))


@pytest.mark.parametrize("error", [RuntimeFailure(SECRET), RuntimeError(SECRET), KeyError(SECRET)])
def test_a_failure_of_ours_is_500_without_details_and_is_logged_with_the_request_s_id(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = failing(error)
    for path, body in (
        (f"/v2/models/{tiny.NAME}/infer", tiny.infer_body()),
        ("/invocations", {"inputs": tiny.columns()}),
    ):
        caplog.clear()
        with caplog.at_level(logging.ERROR, "ray.serve"):
            response = client.post(path, json=body, headers={"x-request-id": "find-me"})
        assert response.status_code == 500
        assert SECRET not in response.text
        assert "x-request-id" in response.text
        assert response.headers["x-request-id"] == "find-me"
        assert "find-me" in caplog.text
        assert SECRET in caplog.text


def test_a_body_that_does_not_arrive_in_time_is_408(plane: DataPlane) -> None:
    client = Client(build(plane, TRANSPORTS, Limits(1000, 0.1)))

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)
        yield b"}"

    started = time.monotonic()
    response = client.post("/invocations", content=slow())
    assert response.status_code == 408
    assert response.json()["error_code"] == "DEADLINE_EXCEEDED"
    assert time.monotonic() - started < 5


def test_a_request_id_that_is_too_long_is_replaced(client: Client) -> None:
    response = client.get("/v2", headers={"x-request-id": "x" * 129})
    assert len(response.headers["x-request-id"]) == 36


def test_behind_a_server_that_names_requests_itself_the_name_is_not_given_twice(plane: DataPlane) -> None:
    client = Client(build(plane, TRANSPORTS, Limits(1000, 5), names_request=False))
    assert "x-request-id" not in client.get("/v2").headers


def test_an_error_at_a_path_has_the_shape_of_the_protocol_that_owns_it(client: Client) -> None:
    assert list(client.get("/v2/nothing").json()) == ["error"]
    assert list(client.get("/invocations/nothing").json()) == ["error_code", "message"]
    assert list(client.get("/v2x").json()) == ["error"]


def test_head_is_answered_where_get_is(client: Client) -> None:
    assert client.request("HEAD", "/v2/health/ready").status_code == 200


def test_no_path_is_owned_by_two_transports() -> None:
    prefixes = [prefix for transport in TRANSPORTS.values() for prefix in transport.prefixes]
    assert len(set(prefixes)) == len(prefixes)
    for transport in TRANSPORTS.values():
        assert all(transport.owns(endpoint.path) for endpoint in transport.endpoints)
