"""Events as API Gateway and EventBridge document them, and a function over a small real model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from infra.lambdas.gateway import Function
from infra.lambdas.telemetry import EmbeddedMetrics
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.admission import Bounds
from serve.gateway.asgi import build
from serve.gateway.transports import TRANSPORTS
from serve.placement.inline import Inline
from serve.runtimes.onnx import OnnxRuntime
from serve.validation import InputSchema
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client
from training.registry import digest_of

EVENTS = Path(__file__).parent / "events"
REGION = "eu-west-1"
OPEN = f"models: {{{tiny.NAME}: {{max_rows: 500}}}}\naccess: {{required: false}}\n"


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


@dataclass
class Context:
    """Lambda's context."""

    left: int = 10_000
    function_name: str = "predict"
    function_version: str = "1"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:predict"
    aws_request_id: str = "8a7d2f2c-0d5e-4b7b-9d0c-6a1c5a1f5f6e"

    def get_remaining_time_in_millis(self) -> int:
        return self.left


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def release(folder: Path, version: str = "7") -> Path:
    """A version's folder: model, contract, and the release that vouches for both."""
    model = tiny.save(folder)
    found = {
        "name": tiny.NAME,
        "version": version,
        "model_digest": digest_of(model),
        "contract_digest": digest_of(folder / "contract.json"),
    }
    (folder / "release.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def ingress(released: Path) -> Client:
    """The ingress's own gateway over the same version."""
    runtime = OnnxRuntime()
    runtime.load(released / "model.onnx", threads=1)
    schema = InputSchema(tiny.NAME, tiny.contract(), 500)
    plane = DataPlane([ServedModel(tiny.NAME, "7", schema, Inline(runtime))], tiny.NAME)
    return Client(build(plane, TRANSPORTS, Bounds(16 * 2**20, 5)))


Make = Callable[..., Function]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody: no test reaches AWS, whatever it does."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make a function: ``make(MODEL_URI=…, …)``; ``clock=`` and ``client=`` take the place of the real ones."""
    made: list[Function] = []

    def function(clock: Any = None, client: Any = None, **environment: str) -> Function:
        variables = {"SERVE_SETTINGS_YAML": OPEN, **environment}
        logger = Logger(service=f"test-{tmp_path.name}", level="INFO")
        options: dict[str, Any] = {} if clock is None else {"clock": clock}
        metrics = EmbeddedMetrics("test")
        made.append(Function(variables, client or _no_client, logger, metrics, folder=tmp_path / "function", **options))
        return made[-1]

    yield function
    for one in made:
        one.close()


def _no_client(service: str) -> Any:
    raise AssertionError(f"{service} was asked for")


def answer(response: dict[str, Any]) -> Any:
    return json.loads(response["body"])
