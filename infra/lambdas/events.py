"""API Gateway's events → requests of an ASGI application, and its answers back.

Formats: HTTP API payload 2.0 (also of a function URL), and payload 1.0, which REST APIs have.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html

Errors::

    NotAnHttpEvent    the event is none of these
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlencode

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent, APIGatewayProxyEventV2
from starlette.types import ASGIApp, Message, Scope

Payload = Literal["1.0", "2.0"]
Headers = tuple[tuple[bytes, bytes], ...]

REQUEST_ID = b"x-request-id"
OWN_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
"""Of one connection, which is API Gateway's here: it writes its own, and would rename ours."""

TEXT_TYPES = ("application/json", "text/")


class NotAnHttpEvent(Exception):
    """The function was invoked with something else than a request of API Gateway. Raw: ``(reason,)``."""

    def __str__(self) -> str:
        return f"{self.args[0]}; this function answers HTTP requests alone: call the URL of its API"


@dataclass(frozen=True, slots=True)
class Request:
    """``path`` is unquoted and without the stage, ``headers`` have lower-case names."""

    payload: Payload
    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    client: str
    request_id: str

    @property
    def scope(self) -> Scope:
        """As ASGI 3 has it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "https",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": self.query,
            "headers": list(self.headers),
            "client": (self.client, 0),
            "server": None,
        }


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Headers
    body: bytes


def read(event: object) -> Request:
    """The request that an event holds.

    Raises:
        NotAnHttpEvent: it holds none, and it says what came.
    """
    if not isinstance(event, dict):
        raise NotAnHttpEvent(f"expected an event of API Gateway, got {type(event).__name__}")
    context = event.get("requestContext")
    if not isinstance(context, dict) or "elb" in context:
        keys = ", ".join(sorted(map(str, event))[:5])
        raise NotAnHttpEvent(f"expected an event of API Gateway, got one with {keys or 'no key'}")
    try:
        return _second(event) if event.get("version") == "2.0" else _first(event)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAnHttpEvent(
            f"expected an event of API Gateway, payload 1.0 or 2.0: {error!r} is wrong in it"
        ) from error


def write(response: Response, payload: Payload) -> dict[str, Any]:
    """The answer as API Gateway takes it."""
    several: dict[str, list[str]] = {}
    for name, value in response.headers:
        if name.lower() not in OWN_HEADERS:
            several.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    text = _text(several, response.body)
    body = base64.b64encode(response.body).decode("ascii") if text is None else text
    answer: dict[str, Any] = {"statusCode": response.status, "body": body, "isBase64Encoded": text is None}
    if payload == "1.0":
        return {**answer, "multiValueHeaders": several}
    cookies = several.pop("set-cookie", [])
    return {**answer, "headers": {name: ", ".join(values) for name, values in several.items()}, "cookies": cookies}


async def ask(app: ASGIApp, request: Request) -> Response:
    """Have an ASGI application answer a request.

    Raises:
        whatever the application raises, and RuntimeError where it ends without an answer.
    """
    exchange = _Exchange(request)
    await app(request.scope, exchange.receive, exchange.send)
    return exchange.response()


class _Exchange:
    """What ASGI calls ``receive`` and ``send``, for a request that has come whole."""

    disconnected = False

    def __init__(self, request: Request) -> None:
        self._head = request.method == "HEAD"
        self._messages: list[Message] = [{"type": "http.request", "body": request.body, "more_body": False}]
        self._status = 0
        self._headers: Headers = ()
        self._body = bytearray()
        self._ended = False

    async def receive(self) -> Message:
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            self._ended = not message.get("more_body", False)

    def response(self) -> Response:
        if not self._status or not self._ended:
            raise RuntimeError("the application ended without an answer")
        return Response(self._status, self._headers, b"" if self._head else bytes(self._body))


def _second(event: dict[str, Any]) -> Request:
    found = APIGatewayProxyEventV2(event)
    context = found.request_context
    fields = [(name, value) for name, value in found.headers.items() if name.lower() != "cookie" or not found.cookies]
    if found.cookies:
        fields.append(("cookie", "; ".join(found.cookies)))
    # A stage of its own name stands before the path, the default one does not.
    path = found.raw_path.removeprefix(f"/{context.stage}") if context.stage != "$default" else found.raw_path
    http = context.http
    return _request("2.0", http.method, path, found.raw_query_string, fields, event, http.source_ip, context.request_id)


def _first(event: dict[str, Any]) -> Request:
    found = APIGatewayProxyEvent(event)
    context = found.request_context
    several: Mapping[str, list[str]] = event.get("multiValueHeaders") or {
        name: [value] for name, value in (event.get("headers") or {}).items()
    }
    fields = [(name, value) for name, values in several.items() for value in values]
    query = urlencode(found.resolved_query_string_parameters, doseq=True)
    source = context.identity.source_ip
    return _request("1.0", found.http_method, found.path, query, fields, event, source, context.request_id or "")


def _request(
    payload: Payload,
    method: str,
    path: str,
    query: str,
    fields: Iterable[tuple[str, str]],
    event: dict[str, Any],
    client: str,
    request_id: str,
) -> Request:
    body = _body(event)
    headers = [(name.lower().encode(), str(value).encode()) for name, value in fields]
    headers = [header for header in headers if header[0] not in OWN_HEADERS]
    if body or method not in ("GET", "HEAD"):
        headers.append((b"content-length", b"%d" % len(body)))
    if request_id and REQUEST_ID not in dict(headers):
        headers.append((REQUEST_ID, request_id.encode()))
    return Request(
        payload, method.upper(), unquote(path) or "/", query.encode(), tuple(headers), body, client, request_id
    )


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise NotAnHttpEvent(f"body: expected a string, got {type(body).__name__}")
    if not event.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAnHttpEvent(f"body: isBase64Encoded is true, and it is not base64 ({error})") from error


def _text(headers: Mapping[str, list[str]], body: bytes) -> str | None:
    """The body as text, where it is text: everything else goes as base64."""
    if not body:
        return ""
    if "content-encoding" in headers or not headers.get("content-type", [""])[0].lower().startswith(TEXT_TYPES):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
