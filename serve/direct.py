"""The short way into a replica: from its HTTP server to the gateway, past Serve's wrapper of each request.

Serve wraps every request of a replica in a dozen steps of its own (metadata, two tasks, a queue, an
access log line, metrics), which together cost more than a small model. The gateway has its own of
all that it needs. Ray offers a callback that puts ASGI middleware around a replica's HTTP server
(``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``); ours answers from the gateway, if there is one in
this process, and hands Serve's own paths (``/-/healthz``, ``/-/routes``) and WebSockets on to Serve.

What Serve no longer sees: its count of running requests. Draining does not need it (the HTTP server
itself waits for requests on their way before it ends), autoscaling is told by ``record_autoscaling_stats``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import loopback

CALLBACK = f"{__name__}.middlewares"

HEAD = b"HTTP/1.1 "
CONTINUE = b"HTTP/1.1 100"

_installed: list[ASGIApp] = []


def install(gateway: ASGIApp) -> None:
    """Answer this process's requests from ``gateway``."""
    _installed[:] = [gateway]


def none_here() -> None:
    """In a replica, before Serve starts its servers: start none for callers.

    Serve would in the first deployment of each application, also of one without a route.
    """
    replica: Any = importlib.import_module("ray.serve._private.replica")
    replica.RAY_SERVE_ENABLE_DIRECT_INGRESS = False


def middlewares() -> list[Middleware]:
    """What Ray calls before it starts an HTTP server, in replicas and in its own fallback proxy."""
    if loopback.VARIABLE in os.environ:
        loopback.bind_grpc_ingress()
    return [Middleware(Direct)]


def behind_serve(gateway: ASGIApp) -> ASGIApp:
    """The gateway for the long way, through Serve's fallback proxy, which names the request in the answer itself."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unnamed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0] != b"x-request-id"]
                message = {**message, "headers": headers}
            await send(message)

        await gateway(scope, receive, send_unnamed)

    return application


class _Joined:
    """A connection that sends an answer's head together with its body.

    uvicorn writes them one after the other. HAProxy can repeat a request whose replica dies before its
    answer begins, not one that breaks off after the head; and it is one system call less.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(HEAD) and not data.startswith(CONTINUE):
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@contextmanager
def _joined(send: Send) -> Iterator[None]:
    cycle: Any = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        yield
        return
    joined = cycle.transport = _Joined(transport)
    try:
        yield
    finally:
        joined.flush()
        cycle.transport = transport


class Direct:
    """ASGI middleware around Serve's own application."""

    def __init__(self, serve: ASGIApp) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _installed and scope["type"] == "http" and not scope["path"].startswith("/-/"):
            with _joined(send):
                await _installed[0](scope, receive, send)
        else:
            await self._serve(scope, receive, send)
