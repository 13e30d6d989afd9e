from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.infra.check.good import SETTINGS
from tests.unit.infra.costs.bill import post
from tests.unit.spark_jobs.aws import SETTINGS as ACCOUNT
from tests.unit.spark_jobs.aws import served


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served() as environment:
        url = environment["AWS_ENDPOINT_URL"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        post(f"{url}/moto-api/reset", {})
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.dev.yaml").write_text(SETTINGS)
    return tmp_path
