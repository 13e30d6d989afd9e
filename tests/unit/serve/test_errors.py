"""Every error has a status, each protocol's shape, and survives the way between two processes."""

from __future__ import annotations

import pickle

import onnx
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from serve.gateway import errors
from serve.gateway.transports import TRANSPORTS
from serve.runtimes.onnx import FAILURES

EXAMPLES: list[errors.ServeError] = [
    errors.BadRequest("reason"),
    errors.MalformedRequest("reason"),
    errors.InputRejected("parcels", "weight", 3, "a number", "null"),
    errors.NotFound("reason"),
    errors.PathNotFound("/nowhere"),
    errors.ModelNotFound("letters", "2", ["parcels"]),
    errors.MethodNotAllowed("PUT", "GET, HEAD"),
    errors.RequestTimeout(5.0),
    errors.BodyTooLarge(1024),
    errors.UnsupportedMediaType("content-type", "text/csv", "application/json"),
    errors.ClientGone(),
    errors.InternalError(),
    errors.Unavailable("reason"),
    errors.NotReady(),
    errors.Overloaded(16),
]


def tree(kind: type[errors.ServeError]) -> set[type[errors.ServeError]]:
    return {kind}.union(*(tree(child) for child in kind.__subclasses__()))


def test_every_error_of_the_tree_is_examined_here() -> None:
    assert {type(error) for error in EXAMPLES} == tree(errors.ServeError) - {errors.ServeError}


def test_every_error_is_drawn_with_its_status_at_the_top_of_the_module() -> None:
    drawn = {line.split("──")[-1].split()[0]: line for line in (errors.__doc__ or "").splitlines() if line.strip()}
    for kind in tree(errors.ServeError) - {errors.ServeError}:
        assert str(kind.status) in drawn[kind.__name__]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_has_a_status_and_the_shape_of_each_protocol(error: errors.ServeError) -> None:
    assert 400 <= error.status < 600
    assert str(error)
    assert TRANSPORTS["open_inference"].error_body(error) == {"error": str(error)}
    assert TRANSPORTS["invocations"].error_body(error) == {"error_code": error.mlflow_code, "message": str(error)}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_a_process_boundary(error: errors.ServeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_every_class_that_onnx_runtime_raises_is_mapped() -> None:
    raised = {kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {"Fail", "InvalidArgument", "InvalidProtobuf"} <= {kind.__name__ for kind in raised}
    assert raised <= set(FAILURES)


def test_onnx_s_checker_raises_what_verification_maps() -> None:
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(onnx.ModelProto())
