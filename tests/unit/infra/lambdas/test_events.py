"""API Gateway's events as requests of an ASGI application, and its answers back."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from infra.lambdas import events
from tests.unit.infra.lambdas.conftest import event

NAMES = st.from_regex(r"x-[a-z0-9-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=30)
FIELDS = st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=3), max_size=5)
PATHS = st.lists(st.text(min_size=1, max_size=10), max_size=4).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=8)), max_size=5)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
STAGES = st.sampled_from(["$default", "prod", "v2"])


class Recorder:
    """An ASGI application that keeps what it was asked, and answers what it was told to."""

    def __init__(self, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b"") -> None:
        self.scope: Scope = {}
        self.body = b""
        self._answer = (status, headers or [], body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.body = (await receive())["body"]
        assert (await receive())["type"] == "http.disconnect"
        status, headers, body = self._answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        middle = len(body) // 2
        await send({"type": "http.response.body", "body": body[:middle], "more_body": True})
        await send({"type": "http.response.body", "body": body[middle:]})


def second(
    method: str, path: str, query: list[tuple[str, str]], fields: dict[str, list[str]], body: bytes | None, stage: str
) -> dict[str, Any]:
    """As an HTTP API sends it with payload 2.0."""
    prefix = "" if stage == "$default" else f"/{stage}"
    found = event("http_api_v2")
    context = found["requestContext"]
    return {
        **found,
        "rawPath": prefix + quote(path),
        "rawQueryString": urlencode(query),
        "headers": {name: ",".join(values) for name, values in fields.items()},
        "requestContext": {**context, "stage": stage, "http": {**context["http"], "method": method}},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def first(
    method: str, path: str, query: list[tuple[str, str]], fields: dict[str, list[str]], body: bytes | None, stage: str
) -> dict[str, Any]:
    """As a REST API sends it."""
    several: dict[str, list[str]] = {}
    for name, value in query:
        several.setdefault(name, []).append(value)
    found = event("rest_v1")
    return {
        **found,
        "path": quote(path),
        "httpMethod": method,
        "multiValueQueryStringParameters": several or None,
        "queryStringParameters": {name: values[-1] for name, values in several.items()} or None,
        "headers": {name: values[-1] for name, values in fields.items()},
        "multiValueHeaders": fields,
        "requestContext": {**found["requestContext"], "stage": stage},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def ask(app: Recorder, happened: object) -> dict[str, Any]:
    request = events.read(happened)
    return events.write(asyncio.run(events.ask(app, request)), request.payload)


def body_of(response: dict[str, Any]) -> bytes:
    body: str = response["body"]
    return base64.b64decode(body) if response["isBase64Encoded"] else body.encode()


@given(
    make=st.sampled_from([first, second]),
    method=METHODS,
    path=PATHS,
    query=QUERIES,
    fields=FIELDS,
    body=st.none() | st.binary(max_size=200),
    stage=STAGES,
)
def test_whatever_was_asked_reaches_the_application(
    make: Any,
    method: str,
    path: str,
    query: list[tuple[str, str]],
    fields: dict[str, list[str]],
    body: bytes | None,
    stage: str,
) -> None:
    app = Recorder()
    ask(app, make(method, path, query, fields, body, stage))
    assert app.scope["method"] == method
    assert app.scope["path"] == path
    assert app.body == (body or b"")
    came = parse_qsl(app.scope["query_string"].decode(), keep_blank_values=True)
    assert sorted(came) == sorted(query)
    for name, values in fields.items():
        found = [value.decode() for key, value in app.scope["headers"] if key.decode() == name]
        assert ",".join(found) == ",".join(values)


@given(
    make=st.sampled_from([first, second]),
    status=st.integers(200, 599),
    kind=st.sampled_from(["application/json", "text/plain", "application/octet-stream"]),
    fields=FIELDS,
    body=st.binary(max_size=200),
)
def test_whatever_the_application_answers_comes_back(
    make: Any, status: int, kind: str, fields: dict[str, list[str]], body: bytes
) -> None:
    headers = [(name.encode(), value.encode()) for name, values in fields.items() for value in values]
    app = Recorder(status, [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)), *headers], body)
    response = ask(app, make("POST", "/", [], {}, b"", "$default"))
    assert response["statusCode"] == status
    assert body_of(response) == body
    for name, values in {**fields, "content-type": [kind]}.items():
        if make is first:
            assert response["multiValueHeaders"][name] == values
        else:
            assert response["headers"][name] == ", ".join(values)
    assert "content-length" not in {**response.get("headers", {}), **response.get("multiValueHeaders", {})}


def test_text_goes_back_as_text_and_what_is_compressed_as_base64() -> None:
    plain = ask(Recorder(200, [(b"content-type", b"application/json")], b'{"a": 1}'), event("http_api_v2"))
    assert (plain["body"], plain["isBase64Encoded"]) == ('{"a": 1}', False)
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    packed = ask(Recorder(200, headers, b"abc"), event("http_api_v2"))
    assert (packed["body"], packed["isBase64Encoded"]) == ("YWJj", True)


def test_each_cookie_is_one_of_its_own_in_both_directions() -> None:
    app = Recorder(200, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT")])
    response = ask(app, {**event("http_api_v2"), "cookies": ["one=1", "two=2"]})
    assert (b"cookie", b"one=1; two=2") in app.scope["headers"]
    assert response["cookies"] == ["a=1", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"]
    assert "set-cookie" not in response["headers"]


def test_the_answer_to_head_has_no_body() -> None:
    app = Recorder(200, [(b"content-type", b"application/json")], b"{}")
    assert ask(app, second("HEAD", "/v2/health/ready", [], {}, None, "$default"))["body"] == ""


def test_a_request_without_an_id_gets_that_of_api_gateway_and_keeps_its_own() -> None:
    assert (b"x-request-id", b"JKJaXmPLvHcESHA=") in events.read(event("http_api_v2")).headers
    own = events.read(second("GET", "/", [], {"x-request-id": ["mine"]}, None, "$default"))
    assert [value for name, value in own.headers if name == b"x-request-id"] == [b"mine"]


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        ({"inputs": []}, "got one with inputs"),
        ({}, "got one with no key"),
        ([1], "got list"),
        (None, "got NoneType"),
        ({"requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "GET"}, "got one with httpMethod"),
        ({"requestContext": {}, "version": "2.0"}, "payload 1.0 or 2.0"),
        ({"requestContext": {"eventType": "CONNECT"}}, "payload 1.0 or 2.0"),
        ({**event("http_api_v2"), "body": "?", "isBase64Encoded": True}, "not base64"),
        ({**event("http_api_v2"), "body": {"inputs": []}}, "body: expected a string, got dict"),
    ],
)
def test_what_is_no_http_request_is_refused_by_name(happened: object, said: str) -> None:
    with pytest.raises(events.NotAnHttpEvent) as raised:
        events.read(happened)
    assert said in str(raised.value)
    assert "call the URL of its API" in str(raised.value)
