"""The description of the ingress: valid OpenAPI, whole, and true of what the application answers."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from serve.gateway import errors
from serve.gateway.docs_page import page
from serve.gateway.openapi import ERRORS, HEADERS, PROTOCOLS, ModelDescription, description
from serve.gateway.transports import LANGUAGE, TRANSPORTS
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

ALL = {**TRANSPORTS, **LANGUAGE}
MODEL = ModelDescription(tiny.NAME, "7", {"zone": "BYTES", "weight": "FP32"}, {"probability": "FP32"})


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(description(ALL, [MODEL], "1.2.3")))


def validate(document: dict[str, Any], schema: object, answer: object) -> None:
    whole = {"components": document["components"], "allOf": [schema]}
    jsonschema.Draft202012Validator(whole).validate(answer)


def test_it_is_valid_openapi_with_and_without_models(document: dict[str, Any]) -> None:
    for found in (document, json.loads(json.dumps(description(ALL, None, "1")))):
        assert [error.message for error in OpenAPIV31SpecValidator(found).iter_errors()] == []


def test_every_endpoint_has_an_operation_and_every_operation_an_endpoint(document: dict[str, Any]) -> None:
    assert PROTOCOLS.keys() == ALL.keys()
    for name, transport in ALL.items():
        served = [f"{endpoint.method} {endpoint.path}" for endpoint in transport.endpoints]
        assert sorted(served) == sorted(PROTOCOLS[name].operations)
    assert {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item.keys() - {"parameters"}
    } == {operation for protocol in PROTOCOLS.values() for operation in protocol.operations}


def test_every_status_and_header_of_an_error_is_described() -> None:
    def below(kind: type[errors.ServeError]) -> set[type[errors.ServeError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    # Nobody is there to read the answer of a client that has gone; a model's server may say that it waited too long.
    statuses = {kind.status for kind in below(errors.ServeError)} - {errors.ClientGone.status} | {504}
    assert statuses == ERRORS.keys()
    for error in (
        errors.Unauthenticated("no key"),
        errors.MethodNotAllowed("PUT", "GET"),
        errors.RateLimited("key x", "1 request/s", 0.5),
        errors.NotReady(),
    ):
        assert {name.decode() for name, _ in error.headers} == set(ERRORS[error.status][1]) <= HEADERS.keys()


def test_only_what_an_orchestrator_asks_needs_no_key(document: dict[str, Any]) -> None:
    for transport in ALL.values():
        for endpoint in transport.endpoints:
            operation = document["paths"][endpoint.path][endpoint.method.lower()]
            assert operation["security"] == ([] if endpoint.open else [{"key": []}, {}])
            assert ("401" in operation["responses"]) is not endpoint.open


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/v2/models/{model}/infer", tiny.infer_body()),
        ("POST", "/v2/models/{model}/versions/{version}/infer", tiny.infer_body() | {"id": "x"}),
        ("POST", "/v2/models/{model}/infer", {"inputs": []}),
        ("GET", "/v2", None),
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/v2/models/{model}", None),
        ("GET", "/v2/models/{model}/versions/{version}", None),
        ("GET", "/v2/models/{model}/ready", None),
        ("GET", "/v2/models/{model}/versions/{version}/ready", None),
        ("POST", "/v2/repository/index", {}),
        ("POST", "/v2/repository/models/{model}/load", {"parameters": {"config": "x"}}),
        ("POST", "/invocations", {"dataframe_records": tiny.ROWS}),
        ("POST", "/invocations", {"inputs": tiny.columns()}),
        ("POST", "/invocations", {"dataframe_split": {"data": tiny.columns()}}),
        ("POST", "/invocations", []),
    ],
)
def test_requests_and_answers_are_what_their_schemas_say(
    client: Client, document: dict[str, Any], method: str, path: str, content: object
) -> None:
    options = {} if content is None else {"json": content}
    response = client.request(method, path.format(model=tiny.NAME, version="7"), **options)
    operation = document["paths"][path][method.lower()]
    answer = operation["responses"][str(response.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    else:
        body = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
        validate(document, body["content"]["application/json"]["schema"], content)
    validate(document, answer["content"][response.headers["content-type"]]["schema"], response.json())


def test_the_models_are_named(document: dict[str, Any]) -> None:
    assert "`parcels` version 7: zone BYTES, weight FP32 → probability FP32" in document["info"]["description"]
    parameters = document["paths"]["/v2/models/{model}/versions/{version}"]["parameters"]
    assert [parameter["schema"]["examples"] for parameter in parameters] == [["parcels"], ["7"]]


class Reader(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_every_operation_and_needs_nothing_from_elsewhere(document: dict[str, Any]) -> None:
    text = page(document, "https://ml.example").decode()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object"} == set()
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on") or name == "src"]
    targets = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    links = [attributes["href"] or "" for tag, attributes in reader.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= targets
    assert [link for link in links if not link.startswith("#")] == ["openapi.json"]
    assert not re.search(r"url\(|@import|@font-face", text)
    for path, item in document["paths"].items():
        assert html.escape(path) in text
        for method in item.keys() - {"parameters"}:
            assert item[method]["operationId"] in targets


def test_the_page_shows_a_document_s_text_as_text(document: dict[str, Any]) -> None:
    hostile = document | {"info": document["info"] | {"title": "<script>alert(1)</script>", "description": "<i>`</i>`"}}
    text = page(hostile, 'https://x"y').decode()
    assert "<script" not in text
    assert "<i>" not in text
    assert 'https://x"y' not in text
