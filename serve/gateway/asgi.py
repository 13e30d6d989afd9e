"""The ASGI application: routes, limits, request ids and errors, once for all transports.

A transport adds :class:`Endpoint` objects: bytes in, bytes out. Reading a body within its limit,
timing, naming the model in the headers and turning an error into the protocol's shape happen here.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from serve.dataplane import DataPlane
from serve.gateway.errors import (
    BodyTooLarge,
    ClientGone,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    PathNotFound,
    RequestTimeout,
    ServeError,
    UnsupportedMediaType,
)

JSON = "application/json"
REQUEST_ID = b"x-request-id"
LONGEST_REQUEST_ID = 128

# Ray's dashboard and log files show this logger.
logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read whole. ``headers`` has lower-case names; of one given twice the last counts."""

    path: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``model`` and ``version`` name what answered, where a model did."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    model: str | None = None
    version: str | None = None


Handler = Callable[[DataPlane, Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method at one path; ``{braces}`` in the path name its parameters, as in Starlette."""

    method: str
    path: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Transport:
    """One protocol. It owns every path below ``prefixes``: errors there have its shape."""

    prefixes: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    error_body: Callable[[ServeError], dict[str, object]]

    def owns(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.prefixes)


@dataclass(frozen=True, slots=True)
class Limits:
    max_body_bytes: int
    timeout_seconds: float


def decode_json(call: Call) -> object:
    """The body as JSON.

    Raises:
        UnsupportedMediaType: the body is declared to be something else.
        MalformedRequest: it is not JSON. ``NaN`` and ``Infinity`` are not, nor is nesting without end.
    """
    declared = call.headers.get(b"content-type", b"").decode("latin-1")
    if declared and declared.partition(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType("content-type", declared, JSON)
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error


def encode_json(document: object) -> bytes:
    """JSON with numpy arrays in it; NaN and infinities become ``null``, as JSON has none."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def build(
    plane: DataPlane, transports: Mapping[str, Transport], limits: Limits, *, names_request: bool = True
) -> Router:
    """The ASGI application over one data plane.

    ``names_request=False`` leaves the response's ``x-request-id`` to the server around it (Ray adds
    the request's own, so that a second one would appear twice).
    """
    known = tuple(transports.values())
    routes = [
        Route(endpoint.path, _Served(plane, limits, names_request, transport, endpoint))
        for transport in known
        for endpoint in transport.endpoints
    ]
    return Router(routes, redirect_slashes=False, default=_Unserved(limits, names_request, known))


class _Responder:
    """Reads a request, answers it, and lets no exception out but a cancellation."""

    def __init__(self, limits: Limits, names_request: bool) -> None:
        self._limits = limits
        self._names_request = names_request

    async def respond(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        transport: Transport,
        answer: Callable[[Receive], Awaitable[Answer]],
    ) -> None:
        headers: tuple[tuple[bytes, bytes], ...] = ()
        request_id = _request_id(scope)
        try:
            async with asyncio.timeout(self._limits.timeout_seconds):
                found = await answer(receive)
        except ServeError as error:
            found, headers = _error(transport, error)
        except TimeoutError:
            found, headers = _error(transport, RequestTimeout(self._limits.timeout_seconds))
        except Exception:
            logger.exception("request %r failed: %s %r", request_id, scope["method"], scope["path"])
            found, headers = _error(transport, InternalError())
        await send(
            {
                "type": "http.response.start",
                "status": found.status,
                "headers": self._headers(found, headers, request_id),
            }
        )
        await send({"type": "http.response.body", "body": found.body})

    def _headers(
        self, answer: Answer, more: tuple[tuple[bytes, bytes], ...], request_id: str
    ) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", answer.media_type.encode("latin-1")),
            (b"content-length", str(len(answer.body)).encode("latin-1")),
            *more,
        ]
        if answer.model is not None and answer.version is not None:
            headers.append((b"model-name", answer.model.encode("latin-1")))
            headers.append((b"model-version", answer.version.encode("latin-1")))
        if self._names_request:
            headers.append((REQUEST_ID, request_id.encode("latin-1")))
        return headers


class _Served(_Responder):
    """One endpoint."""

    def __init__(
        self, plane: DataPlane, limits: Limits, names_request: bool, transport: Transport, endpoint: Endpoint
    ) -> None:
        super().__init__(limits, names_request)
        self._plane = plane
        self._transport = transport
        self._endpoint = endpoint
        self._methods = ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(receive: Receive) -> Answer:
            if scope["method"] not in self._methods:
                raise MethodNotAllowed(scope["method"], ", ".join(self._methods))
            headers = dict(scope["headers"])
            body = (
                await _body(headers, receive, self._limits.max_body_bytes) if self._endpoint.method == "POST" else b""
            )
            return await self._endpoint.handler(self._plane, Call(scope["path_params"], headers, body))

        await self.respond(scope, receive, send, self._transport, answer)


class _Unserved(_Responder):
    """Every other path: an error in the shape of the protocol that owns it, else of the first one."""

    def __init__(self, limits: Limits, names_request: bool, transports: Sequence[Transport]) -> None:
        super().__init__(limits, names_request)
        self._transports = transports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        path = scope["path"]

        async def answer(_: Receive) -> Answer:
            raise PathNotFound(path)

        owner = next((transport for transport in self._transports if transport.owns(path)), self._transports[0])
        await self.respond(scope, receive, send, owner, answer)


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body. A declared length over the limit is refused unread, a chunked body once it passes it."""
    if (encoding := headers.get(b"content-encoding", b"identity")) != b"identity":
        raise UnsupportedMediaType("content-encoding", encoding.decode("latin-1"), "none")
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise BodyTooLarge(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _error(transport: Transport, error: ServeError) -> tuple[Answer, tuple[tuple[bytes, bytes], ...]]:
    return Answer(encode_json(transport.error_body(error)), error.status), error.headers


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and 0 < len(value) <= LONGEST_REQUEST_ID:
            return str(value.decode("latin-1"))
    return str(uuid.uuid4())
