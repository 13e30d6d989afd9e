"""What holds for every transport: nothing leaks, nothing hangs, every request has an id."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from serve.caller import Caller, Limits
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.access_log import AccessLog
from serve.gateway.admission import Admission, Bounds
from serve.gateway.asgi import Gateway, build
from serve.gateway.errors import Unauthenticated
from serve.gateway.metrics import Meter
from serve.gateway.transports import TRANSPORTS, transports
from serve.limits.limiter import Limiter
from serve.placement.inline import Inline
from serve.runtimes.base import Array, ModelMetadata, RuntimeFailure, Tensor
from serve.validation import InputSchema
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client, chunks

SECRET = "password=hunter2"


class Fails:
    """A runtime that fails, as a broken one would."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        outputs = (Tensor("probability", np.dtype(np.float32), (-1,)),)
        self.metadata = ModelMetadata("fails", (), outputs)

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        raise self.error


def failing(error: Exception) -> Client:
    schema = InputSchema(tiny.NAME, tiny.contract(), 10)
    plane = DataPlane([ServedModel(tiny.NAME, "1", schema, Inline(Fails(error)))], tiny.NAME)  # type: ignore[arg-type]
    return Client(build(plane, TRANSPORTS, Bounds(100_000, 5)))


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeFailure(SECRET), 503), (RuntimeError(SECRET), 500), (KeyError(SECRET), 500)]
)
def test_a_failure_of_ours_has_no_details_and_is_logged(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = failing(error)
    for path, body in (
        (f"/v2/models/{tiny.NAME}/infer", tiny.infer_body()),
        ("/invocations", {"inputs": tiny.columns()}),
    ):
        caplog.clear()
        with caplog.at_level(logging.ERROR, "ray.serve"):
            response = client.post(path, json=body, headers={"x-request-id": "find-me"})
        assert response.status_code == status
        assert SECRET not in response.text
        assert "x-request-id" in response.text
        assert response.headers["x-request-id"] == "find-me"
        assert "find-me" in caplog.text or status == 503
        assert SECRET in caplog.text


def test_a_body_that_does_not_arrive_in_time_is_408(plane: DataPlane) -> None:
    client = Client(build(plane, TRANSPORTS, Bounds(1000, 0.1)))

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


def test_the_description_is_served_to_people_and_programs_without_scripts_or_models(plane: DataPlane) -> None:
    client = Client(build(plane, transports(docs=True), Bounds(1000, 5)))
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/v2/models/{model}/infer" in document["paths"]
    assert tiny.NAME not in page.text + client.get("/openapi.json").text


def test_the_description_can_be_left_out(plane: DataPlane) -> None:
    client = Client(build(plane, transports(docs=False), Bounds(1000, 5)))
    assert client.get("/docs").status_code == 404


class Turnstile:
    """Keys by name: ``good`` may use the tiny model, ``other`` may not, ``slow`` takes a moment to check."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:
        if authorization == b"Bearer slow":
            return None
        callers = {b"Bearer good": Caller("k1", "good", ("parcels",)), b"Bearer other": Caller("k2", "other", ("x",))}
        if authorization not in callers:
            raise Unauthenticated("no key came")
        return callers[authorization]

    async def authenticate(self, authorization: bytes | None) -> Caller:
        await asyncio.sleep(0)
        return Caller("k3", "slow", ("*",))


def guarded(plane: DataPlane, **limits: int | float) -> Client:
    limiter = Limiter(Limits(**limits), {})  # type: ignore[arg-type]
    admission = Admission(Bounds(100_000, 5), Turnstile(), limiter, clock=time.monotonic)
    return Client(Gateway(plane, transports(docs=True), admission))


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/ping", "/health", "/docs", "/openapi.json"])
def test_what_an_orchestrator_or_a_person_asks_first_needs_no_key(plane: DataPlane, path: str) -> None:
    assert guarded(plane).get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/models/parcels/infer"), ("POST", "/invocations"), ("GET", "/v2"), ("GET", "/v2/models/parcels")],
)
def test_everything_else_does_and_its_body_is_not_read_before(plane: DataPlane, method: str, path: str) -> None:
    response = guarded(plane).request(method, path, content=chunks(b"{"))
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    if method == "POST":
        assert response.headers["connection"] == "close"


def test_a_key_opens_its_own_models_alone_whether_or_not_another_exists(plane: DataPlane) -> None:
    client = guarded(plane)
    for name in ("parcels", "nothing"):
        for key, status in (("other", 403), ("good", 200 if name == "parcels" else 403)):
            found = client.get(f"/v2/models/{name}", headers={"authorization": f"Bearer {key}"})
            assert found.status_code == status
    slow = {"authorization": "Bearer slow"}
    assert client.post("/invocations", json={"inputs": tiny.columns()}, headers=slow).status_code == 200
    assert client.get("/v2/models/nothing", headers=slow).status_code == 404
    other = {"authorization": "Bearer other"}
    assert client.post("/invocations", json={"inputs": tiny.columns()}, headers=other).status_code == 403


def test_the_log_names_the_caller_of_what_was_refused_where_the_caller_is_known(
    plane: DataPlane, tmp_path: Path
) -> None:
    log = AccessLog(tmp_path, 0.0)
    admission = Admission(
        Bounds(100_000, 5), Turnstile(), Limiter(Limits(requests_per_second=1), {}), clock=time.monotonic
    )
    client = Client(Gateway(plane, TRANSPORTS, admission, None, log))
    for key in ("nobody", "other", "good", "good"):
        client.get("/v2/models/parcels", headers={"authorization": f"Bearer {key}"})
    log.close()
    (file,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["status"], line["caller"]) for line in lines] == [(401, "-"), (403, "k2"), (429, "k1")]


def test_a_limit_is_told_before_it_is_reached_and_when_it_is(plane: DataPlane) -> None:
    client = guarded(plane, requests_per_second=2, rows_per_second=100, batch_rows=5, body_bytes=5000)
    good = {"authorization": "Bearer good"}
    url = f"/v2/models/{tiny.NAME}/infer"
    first = client.post(url, json=tiny.infer_body(), headers=good)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-rows"] == "97"
    assert client.post(url, json=tiny.infer_body(tiny.ROWS * 2), headers=good).status_code == 400
    third = client.post(url, json=tiny.infer_body(), headers=good)
    assert third.status_code == 429
    assert int(third.headers["retry-after"]) >= 1
    assert "key good: the limit of 2 requests per second is reached" in third.json()["error"]
    time.sleep(1)
    assert client.post(url, content=b" " * 5001, headers=good).status_code == 413


def test_more_requests_than_the_replica_bears_are_refused_before_they_are_looked_at(plane: DataPlane) -> None:
    admission = Admission(Bounds(100_000, 5, 2), clock=time.monotonic)
    gateway = Gateway(plane, TRANSPORTS, admission)
    admission.in_flight = 2
    response = Client(gateway).post("/invocations", json={"inputs": tiny.columns()})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert admission.in_flight == 2


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", ""])
def test_a_time_limit_that_is_none_is_refused(client: Client, value: str) -> None:
    response = client.get("/v2", headers={"x-request-timeout-seconds": value})
    assert response.status_code == 400
    assert "x-request-timeout-seconds: expected seconds above 0" in response.json()["error"]


def test_a_client_that_waits_less_than_the_settings_is_told_when_its_time_is_up(plane: DataPlane) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    started = time.monotonic()
    client = Client(build(plane, TRANSPORTS, Bounds(1000, 60)))
    response = client.post("/invocations", content=slow(), headers={"x-request-timeout-seconds": "0.1"})
    assert response.status_code == 408
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_large_answer_goes_out_in_a_coding_that_the_client_takes(client: Client, coding: str) -> None:
    rows = tiny.ROWS * 100
    url = f"/v2/models/{tiny.NAME}/infer"
    packed = client.post(url, json=tiny.infer_body(rows), headers={"accept-encoding": coding})
    plain = client.post(url, json=tiny.infer_body(rows), headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == coding
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert "content-encoding" not in client.get("/v2").headers


def test_every_answer_says_that_it_is_not_to_be_sniffed_or_kept(client: Client) -> None:
    for path in ("/v2", "/nothing", "/ping"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_request_is_counted_and_logged_with_what_became_of_it(plane: DataPlane, tmp_path: Path) -> None:
    meter, log = Meter(), AccessLog(tmp_path, 1.0)
    gateway = Gateway(plane, TRANSPORTS, Admission(Bounds(100_000, 5), clock=time.monotonic), meter, log)
    client = Client(gateway)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"x-request-id": "mine", "traceparent": trace}
    client.post(f"/v2/models/{tiny.NAME}/infer", json=tiny.infer_body(), headers=headers)
    client.get("/v2/models/letters")
    good, refused = meter._served
    assert (good.protocol, good.model, good.version, good.code, good.rows) == (
        "open_inference",
        "parcels",
        "7",
        "200",
        3,
    )
    assert (refused.model, refused.code, refused.reason) == ("", "404", "ModelNotFound")
    log.close()
    (file,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["request_id"] == "mine"
    assert lines[0]["trace"] == trace
    assert lines[1]["reason"] == "ModelNotFound"
