"""What a protocol is to the gateway: endpoints that turn bytes into a call of the data plane, and back.

A transport is thin: decode, one call on the data plane, encode. Who may call, how much and until when
is settled before its handler is called; what went wrong is raised as a ``ServeError`` and put into the
protocol's shape by ``error_body``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from serve.context import RequestContext
from serve.dataplane import DataPlane
from serve.gateway.errors import MalformedRequest, ServeError, UnsupportedMediaType

JSON = "application/json"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read whole. ``headers`` has lower-case names; of one given twice the last counts.

    ``body`` is no longer compressed. ``path`` holds the path's parameters, unquoted.
    """

    path: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    context: RequestContext = field(default_factory=RequestContext)
    request_id: str = ""


class Chunks(Protocol):
    """A body as it comes. The gateway closes it once it has ended, has failed, or has no reader any more."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Stop the work behind it."""
        ...

    def failed(self, error: ServeError) -> bytes:
        """The last of it where an error ends it: its status is sent already."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``model`` and ``version`` name what answered, where a model did. ``chunks`` stand for ``body``."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    model: str | None = None
    version: str | None = None
    headers: Headers = ()
    chunks: Chunks | None = None


Handler = Callable[[DataPlane, Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method at one path; ``{braces}`` in the path name its parameters.

    A path parameter ``model`` is checked against the caller's key before the body is read. ``open``
    endpoints need no key: what a load balancer or an orchestrator asks. ``long`` ones are cancelled
    when their client goes, and may answer in chunks; listening to that costs a task.
    """

    method: str
    path: str
    handler: Handler
    open: bool = False
    long: bool = False


@dataclass(frozen=True, slots=True)
class Transport:
    """One protocol. It owns every path below ``prefixes``: errors there have its shape."""

    prefixes: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    error_body: Callable[[ServeError], dict[str, object]]

    def owns(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.prefixes)


def decode_json(call: Call) -> object:
    """The body as JSON.

    Raises:
        UnsupportedMediaType: the body is declared to be something else.
        MalformedRequest: it is not JSON. ``NaN`` and ``Infinity`` are not, nor is nesting without end.
    """
    require_json(call)
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error


def require_json(call: Call) -> None:
    """Raises: UnsupportedMediaType."""
    declared = call.headers.get(b"content-type", b"")
    if declared and declared != b"application/json":
        text = declared.decode("latin-1")
        if text.partition(";")[0].strip().lower() != JSON:
            raise UnsupportedMediaType("content-type", text, JSON)


def encode_json(document: object) -> bytes:
    """JSON with numpy arrays in it; NaN and infinities become ``null``, as JSON has none."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
