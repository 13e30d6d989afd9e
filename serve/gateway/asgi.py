"""The ASGI application: one way through the house for every protocol.

Route, admit (room, key, limits), read the body within its limit, let the transport's handler turn it
into a call of the data plane, answer, and say what became of it (metrics, access log). What goes wrong
on the way is an error of ``serve.gateway.errors`` in the shape of the protocol that owns the path;
nothing else leaves, but a cancellation.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from serve.context import RequestContext
from serve.dataplane import DataPlane
from serve.gateway import bodies
from serve.gateway.access_log import AccessLog, Line
from serve.gateway.admission import TIMEOUT_HEADER, Admission, Bounds, timeout_of
from serve.gateway.errors import (
    ClientGone,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    PathNotFound,
    RequestTimeout,
    ServeError,
)
from serve.gateway.metrics import Meter, Served
from serve.gateway.routing import Route, Routes
from serve.gateway.streaming import Forwarding, WhileConnected
from serve.gateway.transport import Answer, Call, Chunks, Endpoint, Headers, Transport, encode_json

REQUEST_ID = b"x-request-id"
LONGEST_REQUEST_ID = 128
LARGEST_HEADERS = 32 * 1024
COMPRESSED_TYPES = ("application/json", "text/html; charset=utf-8", "application/octet-stream")

SECURITY_HEADERS: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""OWASP's list for an API whose answers no browser renders; the page of ``/docs`` adds its own."""

UNBUFFERED = (b"x-accel-buffering", b"no")
"""Asks a proxy between to let each chunk through at once."""

# Ray's dashboard and log files show this logger.
logger = logging.getLogger("ray.serve")


class Gateway:
    """The application over one data plane."""

    def __init__(
        self,
        plane: DataPlane,
        transports: Mapping[str, Transport],
        admission: Admission,
        meter: Meter | None = None,
        log: AccessLog | None = None,
    ) -> None:
        self._plane = plane
        self._transports = tuple(transports.values())
        self._names = {id(transport): name for name, transport in transports.items()}
        self._routes = Routes(self._transports)
        self._admission = admission
        self._meter = meter or Meter()
        self._log = log or AccessLog(None, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _other_than_http(scope, receive, send)
            return
        exchange = Exchange(scope, receive)
        exchange.route, exchange.parameters = self._routes.find(scope["path"])
        admission = self._admission
        headers: Headers = ()
        error: ServeError | None = None
        admission.in_flight += 1
        try:
            answer = await self._answer(exchange)
            if answer.chunks is not None:
                await self._forward(exchange, answer, answer.chunks, send)
                return
        except ServeError as raised:
            error = raised
        except asyncio.CancelledError:
            if not exchange.recorded:
                self._record(exchange, ClientGone.status, 0, ClientGone())
            raise
        except Exception:
            if exchange.recorded:
                raise
            logger.exception("request %s failed: %s %r", exchange.request_id, exchange.method, scope["path"])
            error = InternalError()
        finally:
            admission.in_flight -= 1
            ticket = exchange.context.ticket
            if ticket is not None:
                ticket.leave()
                headers = ticket.headers()
        if error is not None:
            answer = Answer(encode_json(self._transport(exchange).error_body(error)), error.status)
            headers += exchange.error_headers(error)
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": exchange.headers(answer, headers)}
        )
        await send({"type": "http.response.body", "body": answer.body})
        self._record(exchange, answer.status, len(answer.body), error)

    async def _forward(self, exchange: Exchange, answer: Answer, chunks: Chunks, send: Send) -> None:
        """Send an answer in chunks, and record it at its end."""
        context = exchange.context
        more = context.ticket.headers() if context.ticket is not None else ()
        forwarding = Forwarding(chunks, exchange.receive, send, context.seconds, exchange.request_id)
        try:
            await forwarding.run({"status": answer.status, "headers": exchange.headers(answer, more)})
        finally:
            error = forwarding.error
            self._record(exchange, error.status if error is not None else answer.status, forwarding.sent, error)

    async def _answer(self, exchange: Exchange) -> Answer:
        self._admission.require_room()
        endpoint = exchange.endpoint()
        most = self._admission.bounds.timeout_seconds
        seconds = timeout_of(exchange.fields.get(TIMEOUT_HEADER), most)
        try:
            async with asyncio.timeout(seconds):
                if not endpoint.open:
                    caller = await self._admission.caller(exchange.fields.get(b"authorization"))
                    exchange.context = RequestContext(caller, None, seconds, exchange.disconnected)
                    exchange.context.request_id = exchange.request_id
                    self._admission.enter(exchange.context, exchange.parameters.get("model"))
                if endpoint.method == "POST":
                    limit = self._admission.body_limit(exchange.context)
                    exchange.body = await bodies.read(exchange.fields, exchange.receive, limit)
                exchange.read = True
                if endpoint.long:
                    async with WhileConnected(exchange.receive):
                        answer = await endpoint.handler(self._plane, exchange.call())
                else:
                    answer = await endpoint.handler(self._plane, exchange.call())
        except TimeoutError as error:
            raise RequestTimeout(seconds) from error
        return await _in_the_client_s_coding(exchange, answer)

    def _transport(self, exchange: Exchange) -> Transport:
        if exchange.route is not None:
            return exchange.route.transport
        path = exchange.path
        return next((found for found in self._transports if found.owns(path)), self._transports[0])

    def _record(self, exchange: Exchange, status: int, sent: int, error: ServeError | None) -> None:
        exchange.recorded = True
        context = exchange.context
        seconds = time.perf_counter() - exchange.began
        reason = type(error).__name__ if error is not None else None
        protocol = self._names[id(self._transport(exchange))]
        model, version = context.model or "", context.version or ""
        self._meter.request(Served(protocol, model, version, str(status), context.rows, seconds, reason))
        if self._log.wants(status):
            trace = exchange.fields.get(b"traceparent")
            self._log.write(
                Line(
                    exchange.request_id,
                    trace[:55].decode("latin-1") if trace else None,
                    context.caller.id,
                    protocol,
                    exchange.method,
                    exchange.path[:200],
                    status,
                    reason,
                    context.model,
                    context.version,
                    context.rows,
                    len(exchange.body),
                    sent,
                    round(seconds, 6),
                )
            )


def build(plane: DataPlane, transports: Mapping[str, Transport], bounds: Bounds) -> Gateway:
    """A gateway without keys and limits, as for a test or a trial."""
    return Gateway(plane, transports, Admission(bounds, clock=time.monotonic))


class Exchange:
    """One HTTP request and what is known of it so far."""

    __slots__ = (
        *("began", "body", "context", "fields", "method", "parameters"),
        *("path", "raw", "read", "receive", "recorded", "request_id", "route"),
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.began = time.perf_counter()
        self.raw: list[tuple[bytes, bytes]] = scope["headers"]
        self.fields = dict(self.raw)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self.request_id = _request_id(self.fields.get(REQUEST_ID))
        self.route: Route | None = None
        self.parameters: Mapping[str, str] = {}
        self.body = b""
        self.read = False
        self.recorded = False
        self.context = RequestContext()

    @property
    def disconnected(self) -> Callable[[], bool]:
        """Whether the client has gone. ASGI tells only those who wait for it; uvicorn's own record costs nothing."""
        cycle: Any = getattr(self.receive, "__self__", None)
        return lambda: bool(getattr(cycle, "disconnected", False))

    def endpoint(self) -> Endpoint:
        """Raises: PathNotFound, MethodNotAllowed, HeadersTooLarge."""
        if self.route is None:
            raise PathNotFound(self.path)
        endpoint = self.route.endpoints.get(self.method)
        if endpoint is None:
            raise MethodNotAllowed(self.method, self.route.allowed)
        if len(self.raw) > 16 and sum(len(name) + len(value) for name, value in self.raw) > LARGEST_HEADERS:
            raise HeadersTooLarge(LARGEST_HEADERS)
        return endpoint

    def call(self) -> Call:
        return Call(self.parameters, self.fields, self.body, self.context, self.request_id)

    def error_headers(self, error: ServeError) -> Headers:
        # What was not read of a request's body stands before the connection's next request.
        unread = not self.read and self.method == "POST" and self.fields.get(b"content-length") != b"0"
        closing = ((b"connection", b"close"),) if unread else ()
        return (*(header for header in error.headers if header[0] != b"connection"), *closing)

    def headers(self, answer: Answer, more: Headers) -> list[tuple[bytes, bytes]]:
        length = (b"content-length", b"%d" % len(answer.body)) if answer.chunks is None else UNBUFFERED
        found = [
            (b"content-type", answer.media_type.encode("latin-1")),
            length,
            (REQUEST_ID, self.request_id.encode("latin-1")),
            *SECURITY_HEADERS,
            *answer.headers,
            *more,
        ]
        if answer.model is not None and answer.version is not None:
            found.append((b"model-name", answer.model.encode("latin-1")))
            found.append((b"model-version", answer.version.encode("latin-1")))
        return found


async def _other_than_http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})


async def _in_the_client_s_coding(exchange: Exchange, answer: Answer) -> Answer:
    offered = exchange.fields.get(b"accept-encoding")
    if offered is None or len(answer.body) < bodies.SMALLEST_COMPRESSED or answer.media_type not in COMPRESSED_TYPES:
        return answer
    coding = bodies.accepted(offered)
    if coding is None:
        return answer
    body = await bodies.compressed(answer.body, coding)
    headers = (*answer.headers, (b"content-encoding", coding), (b"vary", b"accept-encoding"))
    return Answer(body, answer.status, answer.media_type, answer.model, answer.version, headers)


def _request_id(given: bytes | None) -> str:
    """The client's own, where it is short and printable; else a new one."""
    if given is not None and 0 < len(given) <= LONGEST_REQUEST_ID and given.isascii():
        text = given.decode("ascii")
        if text.isprintable():
            return text
    return str(uuid.uuid4())
