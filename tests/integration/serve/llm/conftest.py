"""Places where language models run, or seem to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import bedrock
from tests.bedrock import StandIn

# It imports Ray, which few tests of this folder need.
if TYPE_CHECKING:
    from tests.integration.serve.llm.vllm_on_ray import Run


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    from tests.integration.serve.llm import vllm_on_ray

    with vllm_on_ray.event_loop() as running:
        yield running


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in for Bedrock, and an environment with its credentials and no others."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bedrock.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bedrock.SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with StandIn().running() as running:
        yield running
