"""What MLflow's errors are to whoever asked."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from training.registry import (
    AlreadyThere,
    RegistryError,
    RegistryRefused,
    RegistryUnreachable,
    VersionNotFound,
    client,
    mapped_errors,
    require_name,
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


def test_what_is_given_and_found_invalid_is_refused_and_what_is_looked_up_is_not_there() -> None:
    code = "INVALID_PARAMETER_VALUE"
    with pytest.raises(RegistryRefused, match="refuses alias x: because"), mapped_errors("a", "model", given="alias x"):
        fail(code)
    with pytest.raises(VersionNotFound, match="no model@nobody in the registry"), mapped_errors("a", "model@nobody"):
        fail(code)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("this is no database")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:////dev/null/below/mlflow.db", "Not a directory"),
        ("sqlite:///{places}/text.db", "file is not a database"),
        ("sqlite:///{places}/folder.db", "unable to open database file"),
        ("sqlite:mlflow.db", "Could not parse SQLAlchemy URL"),
        ("postgresql://127.0.0.1:1/registry", "onnection refused"),
        ("mysql://127.0.0.1:1/registry", "No module named"),
        ("file://{places}/files", "maintenance mode"),
        ("{places}/files", "maintenance mode"),
        ("garbage://host", "unsupported URI"),
        ("http://[host", "Invalid IPv6 URL"),
    ],
)
def test_an_address_of_no_registry_is_told_with_the_reason_and_what_was_expected(
    address: str, reason: str, places: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = address.format(places=places)
    for ask in (lambda: client(uri, create=True), lambda: require_name(uri, "model", "tabular")):
        with pytest.raises(RegistryUnreachable) as caught:
            ask()
        assert f"no registry can be opened at {uri}: " in str(caught.value)
        assert reason in str(caught.value)
        assert "expected http(s)://HOST or a database's address, as sqlite:///FILE" in str(caught.value)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_new_registry_is_made_with_its_folder_where_it_is_asked_for_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mlflow.db"
    with pytest.raises(RegistryUnreachable, match="there is no registry at"):
        client(f"sqlite:///{file}")
    assert not file.parent.exists()
    client(f"sqlite:///{file}", create=True)
    assert file.exists()
