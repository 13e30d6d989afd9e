from __future__ import annotations

import pytest

from training.addresses import shown
from training.registry import RegistryUnreachable, client


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("postgresql://mlflow:p@ss:word@db:5432/mlflow", "postgresql://mlflow:***@db:5432/mlflow"),
        ("https://user:secret@mlflow.example", "https://user:***@mlflow.example"),
        ("https://user@mlflow.example", "https://user@mlflow.example"),
        ("http://[secret:secret@host", "host"),
        ("sqlite:////home/me/a@b:c/mlflow.db", "sqlite:////home/me/a@b:c/mlflow.db"),
        ("https://mlflow.example/a@b", "https://mlflow.example/a@b"),
    ],
)
def test_an_address_is_printed_without_its_password(uri: str, printed: str) -> None:
    assert shown(uri) == printed


@pytest.mark.parametrize("scheme", ["garbage", "mysql", "postgresql"])
def test_no_error_of_a_registry_tells_its_password(scheme: str) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        client(f"{scheme}://mlflow:secret@127.0.0.1:1/mlflow")
    assert "secret" not in str(caught.value)
    assert "mlflow:***@127.0.0.1:1" in str(caught.value)
