"""The short way into a replica, through a real HTTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serve import direct
from serve.dataplane import DataPlane
from serve.gateway.admission import Bounds
from serve.gateway.asgi import build
from serve.gateway.transports import TRANSPORTS


async def serves_own(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"Serve's own"})


@pytest.fixture
def installed(plane: DataPlane) -> Iterator[None]:
    direct.install(build(plane, TRANSPORTS, Bounds(100_000, 5)))
    yield
    direct._installed.clear()


def exchanged(*requests: bytes) -> list[bytes]:
    """What a server around the middleware sends for each of these requests on one connection, read by read."""

    async def run() -> list[bytes]:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(direct.Direct(serves_own), lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        found = []
        for request in requests:
            writer.write(request)
            found.append(await asyncio.wait_for(reader.read(65536), 5))
        writer.close()
        server.should_exit = True
        await task
        return found

    return asyncio.run(run())


@pytest.mark.usefixtures("installed")
def test_an_answer_comes_whole_in_one_piece_and_the_connection_goes_on() -> None:
    request = b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n"
    for answer in exchanged(request, request):
        head, body = answer.split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert f"content-length: {len(body)}".encode() in head


@pytest.mark.usefixtures("installed")
def test_an_answer_without_a_body_and_one_that_closes_are_sent_too() -> None:
    assert exchanged(b"HEAD /v2 HTTP/1.1\r\nhost: a\r\n\r\n")[0].startswith(b"HTTP/1.1 200")
    (closing,) = exchanged(b"GET /v2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert b"ml-training-deployment" in closing


@pytest.mark.usefixtures("installed")
def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() -> None:
    head = b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    first, second = exchanged(head, b"{}")
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 400")


@pytest.mark.usefixtures("installed")
def test_serve_s_own_paths_are_serve_s() -> None:
    assert exchanged(b"GET /-/healthz HTTP/1.1\r\nhost: a\r\n\r\n")[0].startswith(b"HTTP/1.1 299")


def test_without_a_gateway_in_the_process_everything_is_serve_s() -> None:
    assert exchanged(b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n")[0].startswith(b"HTTP/1.1 299")
