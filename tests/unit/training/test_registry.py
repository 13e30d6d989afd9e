"""What MLflow's errors are to whoever asked."""

from __future__ import annotations

import pytest

from training.registry import (
    AlreadyThere,
    RegistryError,
    RegistryRefused,
    RegistryUnreachable,
    VersionNotFound,
    mapped_errors,
)


def fail(code: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    raise MlflowException("because", error_code=ErrorCode.Value(code))


@pytest.mark.parametrize(
    ("code", "found", "said"),
    [
        ("RESOURCE_DOES_NOT_EXIST", VersionNotFound, "no model in the registry at a-server (because)"),
        ("RESOURCE_ALREADY_EXISTS", AlreadyThere, "model is in the registry at a-server already (because)"),
        ("PERMISSION_DENIED", RegistryRefused, "the registry at a-server refuses model: because"),
        ("INVALID_STATE", RegistryRefused, "the registry at a-server refuses model: because"),
        ("INTERNAL_ERROR", RegistryUnreachable, "the registry at a-server does not answer: because"),
        ("TEMPORARILY_UNAVAILABLE", RegistryUnreachable, "the registry at a-server does not answer: because"),
    ],
)
def test_an_error_says_whether_the_registry_answered(code: str, found: type[RegistryError], said: str) -> None:
    with pytest.raises(RegistryError) as caught, mapped_errors("a-server", "model"):
        fail(code)
    assert type(caught.value) is found
    assert str(caught.value) == said
