"""Every error has a status, each protocol's shape, and survives the way between two processes."""

from __future__ import annotations

import pickle

import grpc
import onnx
import orjson
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from serve.gateway import errors
from serve.gateway.transports import LANGUAGE, TRANSPORTS
from serve.runtimes.onnx import FAILURES

EXAMPLES: list[errors.ServeError] = [
    errors.BadRequest("reason"),
    errors.MalformedRequest("reason"),
    errors.InputRejected("parcels", "weight", 3, "a number", "null"),
    errors.ParameterRejected("stop", "expected at most 4 of them, got 5", "array_above_max_length"),
    errors.Unauthenticated("no key came"),
    errors.Forbidden("key reports", "use model parcels"),
    errors.NotFound("reason"),
    errors.PathNotFound("/nowhere"),
    errors.ModelNotFound("letters", "2", ["parcels"]),
    errors.MethodNotAllowed("PUT", "GET, HEAD"),
    errors.RequestTimeout(5.0),
    errors.BodyTooLarge(1024),
    errors.UnsupportedMediaType("content-type", "text/csv", "application/json"),
    errors.RateLimited("key reports", "10 requests a second", 0.25),
    errors.BudgetReached("key reports", "$5 a day", "at 2026-01-02T00:00Z"),
    errors.HeadersTooLarge(32768),
    errors.ClientGone(),
    errors.InternalError(),
    errors.BackendError(400, "context_length_exceeded", "the prompt has 4097 tokens, expected 4096", "messages"),
    errors.Unavailable("reason"),
    errors.NotReady(),
    errors.Overloaded(16),
    errors.ModelFailed("parcels"),
]


def tree(kind: type[errors.ServeError]) -> set[type[errors.ServeError]]:
    """Those of this module: what serves the gateway elsewhere has some of its own, drawn there."""
    below = (child for child in kind.__subclasses__() if child.__module__ == errors.__name__)
    return {kind}.union(*(tree(child) for child in below))


def test_every_error_of_the_tree_is_examined_here() -> None:
    assert {type(error) for error in EXAMPLES} == tree(errors.ServeError) - {errors.ServeError}


def test_every_error_is_drawn_with_its_status_at_the_top_of_the_module() -> None:
    drawn = {line.split("──")[-1].split()[0]: line for line in (errors.__doc__ or "").splitlines() if line.strip()}
    for kind in tree(errors.ServeError) - {errors.ServeError}:
        assert [str(kind.status), kind.grpc_code, kind.mlflow_code] == drawn[kind.__name__].split("──")[-1].split()[1:4]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_has_a_status_and_the_shape_of_each_protocol(error: errors.ServeError) -> None:
    assert 400 <= error.status < 600
    assert str(error)
    assert TRANSPORTS["open_inference"].error_body(error) == {"error": str(error)}
    assert TRANSPORTS["invocations"].error_body(error) == {"error_code": error.mlflow_code, "message": str(error)}
    body = LANGUAGE["openai"].error_body(error)["error"]
    assert isinstance(body, dict)
    assert body.keys() == {"message", "type", "param", "code"}
    assert body["message"] == str(error)


def test_every_grpc_code_is_one_that_grpc_has() -> None:
    assert {error.grpc_code for error in EXAMPLES} <= {code.name for code in grpc.StatusCode}


def test_who_is_to_come_back_later_is_told_when() -> None:
    headers = dict(errors.RateLimited("key reports", "10 requests a second", 1.2).headers)
    assert headers[b"retry-after"] == b"2"
    assert dict(errors.Overloaded(3, "requests").headers)[b"retry-after"] == b"1"
    assert dict(errors.ModelFailed("parcels").headers) == {}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_a_process_boundary(error: errors.ServeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.status, again.openai_code, again.param) == (error.status, error.openai_code, error.param)


def test_a_value_is_shown_however_deep_and_long_it_is() -> None:
    deep = orjson.loads(b"[" * 1023 + b"]" * 1023)
    assert errors.shown(deep) == "a list that is nested too deeply"
    assert errors.shown("x" * 100) == f"'{'x' * 59}…"


def test_every_class_that_onnx_runtime_raises_is_mapped() -> None:
    raised = {kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {"Fail", "InvalidArgument", "InvalidProtobuf"} <= {kind.__name__ for kind in raised}
    assert raised <= set(FAILURES)


def test_onnx_s_checker_raises_what_verification_maps() -> None:
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(onnx.ModelProto())
