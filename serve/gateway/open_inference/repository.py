"""The extension "Model Repository": which models there are, and loading and unloading one by its name."""

from __future__ import annotations

from collections.abc import Collection

from serve.dataplane import DataPlane
from serve.gateway.errors import MalformedRequest, shown
from serve.gateway.transport import Answer, Call, Endpoint, decode_json, encode_json

READY = "READY"
IGNORED_PARAMETERS = frozenset({"unload_dependents"})
"""A model has no dependents here, so that the parameter says nothing."""


def check_parameters(names: Collection[str]) -> None:
    """The parameters of a load or an unload: none of them changes what is loaded.

    Raises:
        MalformedRequest: there is a ``config`` or ``file:…``, or one that nobody knows.
    """
    for name in sorted(set(names) - IGNORED_PARAMETERS):
        if name == "config" or name.startswith("file:"):
            raise MalformedRequest(
                f"parameters: {shown(name)}: a model is loaded as its registry and serve.yaml have it, "
                "the request can't change that"
            )
        raise MalformedRequest(f"parameters: unknown key {shown(name)}, expected unload_dependents at most")


async def _index(plane: DataPlane, call: Call) -> Answer:
    ready = _options(call, "ready").get("ready", False)
    if not isinstance(ready, bool):
        raise MalformedRequest(f"ready: expected a boolean, got {shown(ready)}")
    models = [
        {"name": name, "version": version, "state": state, "reason": reason}
        for name, version, state, reason in plane.index()
        if state == READY or not ready
    ]
    return Answer(encode_json(models))


async def _load(plane: DataPlane, call: Call) -> Answer:
    _check_body(call)
    await plane.load(call.path["model"], call.context)
    return Answer(b"{}")


async def _unload(plane: DataPlane, call: Call) -> Answer:
    _check_body(call)
    await plane.unload(call.path["model"], call.context)
    return Answer(b"{}")


def _check_body(call: Call) -> None:
    parameters = _options(call, "parameters").get("parameters", {})
    if not isinstance(parameters, dict):
        raise MalformedRequest(f"parameters: expected an object, got {shown(parameters)}")
    check_parameters(parameters)


def _options(call: Call, key: str) -> dict[str, object]:
    """The body's object, of which ``key`` is the only key; an empty body is an empty one."""
    if not call.body:
        return {}
    document = decode_json(call)
    if not isinstance(document, dict):
        raise MalformedRequest(f"the request: expected an object, got {shown(document)}")
    if unknown := document.keys() - {key}:
        raise MalformedRequest(f"the request: unknown key {shown(min(unknown))}, expected {key}")
    return document


ENDPOINTS = (
    Endpoint("POST", "/v2/repository/index", _index),
    Endpoint("POST", "/v2/repository/models/{model}/load", _load),
    Endpoint("POST", "/v2/repository/models/{model}/unload", _unload),
)
