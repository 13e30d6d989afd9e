"""Clients that mean harm, or are broken: they are refused, memory stays bounded, and others are served."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from tests.integration.serve import processes
from tests.integration.serve.conftest import RAY_COMMAND, Served, Start, Store, patient, write_settings
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{tiny.NAME}/infer"
TIMEOUT = 2
SOON_SECONDS = 30
"""A server without that timeout waits for good."""

MOST_GROWTH = 150 * 2**20


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("hostile")
    settings = write_settings(folder, store.uri)
    document = yaml.safe_load(settings.read_text())
    document["http"] |= {"request_timeout_seconds": TIMEOUT, "max_body_bytes": 4 * 2**20}
    settings.write_text(json.dumps(document))
    running = start(settings, RAY_COMMAND)
    running.wait_until_ready()
    return running


@pytest.fixture(autouse=True)
def goes_on(served: Served) -> Iterator[None]:
    """Whatever a test does: memory stays bounded, and the next request is answered."""
    before = memory(served)
    yield
    assert memory(served) - before < MOST_GROWTH
    good = post(served, json=tiny.infer_body())
    assert good.status_code == 200
    np.testing.assert_allclose(good.json()["outputs"][0]["data"], tiny.expected(), rtol=1e-6)


def memory(served: Served) -> int:
    """Bytes that the ingress replicas and HAProxy hold."""
    pids = [*served.all_replicas("ingress", 1)]
    pids += [pid for pid in processes.family(served.process.pid) if "haproxy.cfg" in " ".join(processes.command(pid))]
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 4096 * pages


def post(served: Served, path: str = INFER, client: httpx.Client = patient, **request: Any) -> httpx.Response:
    """The answer. A machine that stalls for as long as a request may take to come is asked once more."""
    response = client.post(f"{served.url}{path}", **request)
    return response if response.status_code != 408 else client.post(f"{served.url}{path}", **request)


def told(served: Served, *parts: bytes) -> bytes:
    """What :func:`said` finds, asked once more as in :func:`post`."""
    answer = said(served, *parts)
    return answer if status(answer) != 408 else said(served, *parts)


def said(served: Served, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except OSError:
            pass  # It has answered already and reads no more.
        found = b""
        try:
            while chunk := connection.recv(65536):
                found += chunk
                if b"\r\n\r\n" in found and found.count(b"{") == found.count(b"}") > 0:
                    break
        except OSError:
            pass
        return found


def head(*headers: str) -> bytes:
    return "\r\n".join(
        [f"POST {INFER} HTTP/1.1", "host: a", "content-type: application/json", *headers, "", ""]
    ).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_a_body_that_comes_a_byte_a_second_is_given_up_in_time(served: Served) -> None:
    started = time.monotonic()
    answer = said(served, head("content-length: 100"), *[b" "] * 4, pause=1)
    assert status(answer) == 408
    assert time.monotonic() - started < SOON_SECONDS


def test_headers_that_never_end_are_given_up_in_time(served: Served) -> None:
    answer = said(served, b"POST / HTTP/1.1\r\n", *[b"a: b\r\n"] * 4, pause=1)
    assert status(answer) == 408


def test_headers_without_measure_are_refused(served: Served) -> None:
    assert status(told(served, head(f"x-long: {'x' * 100_000}", "content-length: 0"))) in (400, 431)
    assert status(told(served, head(*(f"x-{n}: y" for n in range(5000)), "content-length: 0"))) in (400, 431)


def test_a_gibibyte_that_is_only_announced_is_refused_at_once(served: Served) -> None:
    started = time.monotonic()
    assert status(told(served, head(f"content-length: {2**30}"), b"x" * 100_000)) == 413
    assert time.monotonic() - started < SOON_SECONDS


def test_a_body_without_end_is_refused_once_it_is_too_large(served: Served) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert status(told(served, head("transfer-encoding: chunked"), *[chunk] * 100)) == 413


@pytest.mark.parametrize("document", [b"[" * 100_000, b'{"a":' * 50_000, b"[" * 1_000_000 + b"]" * 1_000_000])
def test_json_without_bottom_is_refused(served: Served, document: bytes) -> None:
    for path in (INFER, "/invocations"):
        headers = {"content-type": "application/json"}
        assert post(served, path, content=document, headers=headers).status_code == 400


def test_a_bomb_is_refused(served: Served) -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    for _ in range(5):
        assert post(served, content=bomb, headers=headers).status_code == 413


def test_two_hundred_idle_connections_keep_nobody_out(served: Served) -> None:
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
    for connection in idle[:100]:
        connection.sendall(b"POST / HTTP/1.1\r\n")
    assert post(served, json=tiny.infer_body()).status_code == 200
    for connection in idle:
        connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
        head("content-length: 5", "content-length: 6") + b"hello!",
        head("content-length: -1"),
        head("transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: a\r\nbad header: x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
    ],
)
def test_what_is_not_http_or_says_two_things_is_refused(served: Served, request_bytes: bytes) -> None:
    assert status(told(served, request_bytes)) == 400


def test_a_request_hidden_in_another_s_body_is_not_answered(served: Served) -> None:
    hidden = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"
    sent = head(f"content-length: {len(hidden) + 5}", "transfer-encoding: chunked") + b"0\r\n\r\n" + hidden
    answer = said(served, sent)
    assert answer.count(b"HTTP/1.1 ") == 1 or b'"live"' not in answer.split(b"HTTP/1.1 ", 2)[1]
    assert status(answer) in (400, 408)


def test_a_request_that_haproxy_gives_up_is_named_and_told_in_json_as_every_protocol_has_it(served: Served) -> None:
    """Bytes that are no HTTP at all get HAProxy's own page, which is fixed in it."""
    fields, _, body = said(served, head("content-length: 100")).partition(b"\r\n\r\n")
    assert b"x-request-id: " in fields.lower()
    assert {"error", "error_code", "message"} == set(json.loads(body))


def mutated(body: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(1, 8)):
        action, at = chance.randrange(4), chance.randrange(max(1, len(changed)))
        if action == 0 and changed:
            changed[at] = chance.randrange(256)
        elif action == 1:
            changed[at:at] = chance.randbytes(chance.randint(1, 20))
        elif action == 2:
            del changed[at : at + chance.randint(1, 20)]
        else:
            changed = changed[:at]
    return bytes(changed)


def test_five_thousand_broken_binary_bodies_are_answered_or_refused_and_nothing_fails(served: Served) -> None:
    import tritonclient.http as triton

    inputs = []
    for name, values in tiny.columns([row for row in tiny.ROWS if row["depot"] is not None]).items():
        text = isinstance(values[0], str)
        tensor = triton.InferInput(name, [len(values)], "BYTES" if text else "FP32")
        tensor.set_data_from_numpy(np.array(values, dtype=object if text else np.float32))
        inputs.append(tensor)
    body, length = triton.InferenceServerClient.generate_request_body(inputs)
    chance = random.Random(7)
    with httpx.Client(timeout=60) as client:
        found = set()
        for number in range(5000):
            changed = mutated(body, chance) if number else body
            said_length = length if chance.random() < 0.8 else chance.randrange(-5, 2 * len(body))
            headers = {"inference-header-content-length": str(said_length), "content-type": "application/octet-stream"}
            found.add(post(served, client=client, content=changed, headers=headers).status_code)
    assert found <= {200, 400}
    assert 400 in found
