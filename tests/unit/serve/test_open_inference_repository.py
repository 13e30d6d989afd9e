"""The repository's endpoints and the server's metadata, over a data plane that only takes notes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from serve.gateway.errors import MalformedRequest
from serve.gateway.open_inference import TRANSPORT
from serve.gateway.transport import Call
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client


class Notes:
    """What the endpoints ask of a data plane."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def index(self) -> list[tuple[str, str, str, str]]:
        return [("parcels", "7", "READY", ""), ("letters", "2", "UNAVAILABLE", "unloaded")]

    async def load(self, name: str, _context: object = None) -> None:
        self.calls.append(("load", name))

    async def unload(self, name: str, _context: object = None) -> None:
        self.calls.append(("unload", name))


def post(path: str, body: object = None, **parameters: str) -> tuple[Any, Notes]:
    endpoint = next(one for one in TRANSPORT.endpoints if (one.method, one.path) == ("POST", path))
    notes = Notes()
    call = Call(parameters, {}, b"" if body is None else json.dumps(body).encode())
    answer = asyncio.run(endpoint.handler(notes, call))  # type: ignore[arg-type]
    assert answer.status == 200
    return json.loads(answer.body), notes


def test_the_index_names_every_model_or_those_that_are_ready() -> None:
    every = [
        {"name": "parcels", "version": "7", "state": "READY", "reason": ""},
        {"name": "letters", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"},
    ]
    for body in (None, {}, {"ready": False}):
        assert post("/v2/repository/index", body)[0] == every
    assert post("/v2/repository/index", {"ready": True})[0] == every[:1]


@pytest.mark.parametrize("what", ["load", "unload"])
@pytest.mark.parametrize("body", [None, {}, {"parameters": {}}, {"parameters": {"unload_dependents": True}}])
def test_a_model_is_loaded_and_unloaded_by_its_name(what: str, body: object) -> None:
    found, notes = post(f"/v2/repository/models/{{model}}/{what}", body, model="parcels")
    assert (found, notes.calls) == ({}, [(what, "parcels")])


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("index", [], "the request: expected an object"),
        ("index", {"ready": 1}, "ready: expected a boolean, got 1"),
        ("index", {"raedy": True}, "unknown key 'raedy', expected ready"),
        ("models/{model}/load", {"parameters": {"config": "{}"}}, "'config': a model is loaded as its registry"),
        ("models/{model}/load", {"parameters": {"file:1/model.onnx": "x"}}, "'file:1/model.onnx': a model is loaded"),
        ("models/{model}/unload", {"parameters": {"other": 1}}, "unknown key 'other'"),
        ("models/{model}/unload", {"parameters": []}, "parameters: expected an object, got []"),
        ("models/{model}/load", {"force": True}, "unknown key 'force', expected parameters"),
    ],
)
def test_a_body_that_would_change_what_is_loaded_is_refused(path: str, body: object, message: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        post(f"/v2/repository/{path}", body, model="parcels")
    assert message in str(caught.value)


def test_the_server_says_which_extensions_it_has(client: Client) -> None:
    found = client.get("/v2").json()
    assert found["extensions"] == ["binary_tensor_data", "model_repository", "parameters"]


def test_the_index_of_a_real_data_plane(client: Client) -> None:
    found = client.post("/v2/repository/index")
    assert found.status_code == 200, found.text
    assert [(model["name"], model["state"]) for model in found.json()] == [(tiny.NAME, "READY")]
