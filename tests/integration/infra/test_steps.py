"""Evaluate and Deploy against a real ``mlflow server`` with SQLite, and a real gateway behind real HTTP."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from mlflow import MlflowClient
from mlflow.entities import Metric
from moto import mock_aws

from benchmarks.ports import free_port
from infra.lambdas import deploy, evaluate
from infra.lambdas.tracking import Answer, Tracking, TrackingUnavailable, over_http
from serve.access.authenticator import open_access
from serve.access.keys import issue
from serve.access.settings import AccessSettings
from serve.access.stores import open_store
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.admission import Admission, Bounds
from serve.gateway.asgi import Gateway
from serve.gateway.errors import ModelFailed
from serve.gateway.transports import TRANSPORTS
from serve.placement.inline import Inline
from serve.runtimes.onnx import OnnxRuntime
from serve.validation import InputSchema
from tests.integration.infra.mlflow_server import mlflow_server, wait_for
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

METRIC = "test_auc"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(folder) as url:
        wait_for(url, folder)
        yield url


class Line:
    """One model's runs and versions, as ``python -m training`` leaves them in MLflow."""

    def __init__(self, server: str, model: str) -> None:
        self.model = model
        self.mlflow = MlflowClient(tracking_uri=server, registry_uri=server)
        self.tracking = Tracking(server)
        self._experiment: str | None = None

    def run(self, execution: str | None, status: str = "FINISHED", **metrics: float) -> str:
        if self._experiment is None:
            self._experiment = self.mlflow.create_experiment(self.model)
        tags = {} if execution is None else {"execution": execution}
        run_id: str = self.mlflow.create_run(self._experiment, tags=tags).info.run_id
        self.mlflow.log_batch(run_id, [Metric(name, value, 0, 0) for name, value in metrics.items()])
        self.mlflow.set_terminated(run_id, status)
        return run_id

    def register(self, run_id: str, alias: str | None = None) -> str:
        if not self.mlflow.search_registered_models(f"name = '{self.model}'"):
            self.mlflow.create_registered_model(self.model)
        found = self.mlflow.create_model_version(self.model, f"runs:/{run_id}/model", run_id)
        if alias:
            self.mlflow.set_registered_model_alias(self.model, alias, found.version)
        return str(found.version)

    @property
    def champion(self) -> str | None:
        found = self.mlflow.get_registered_model(self.model).aliases.get("champion")
        return None if found is None else str(found)

    def evaluate(self, execution: str, metric: str = METRIC) -> dict[str, Any]:
        return evaluate.evaluate(self.tracking, self.model, self.model, metric, execution)


@pytest.fixture
def line(server: str, request: pytest.FixtureRequest) -> Line:
    return Line(server, f"parcels-{abs(hash(request.node.name)) % 10**9}")


def test_the_run_of_an_execution_is_found_by_its_tag(line: Line) -> None:
    line.run("one", test_auc=0.6)
    wanted = line.run("two", test_auc=0.8)
    line.run("two", status="FAILED", test_auc=0.99)
    line.run(None, test_auc=0.9)
    assert line.evaluate("two") == {"run": wanted, "metric": METRIC, "value": 0.8, "champion": None}


def test_the_champion_s_value_stands_beside_the_new_one(line: Line) -> None:
    version = line.register(line.run("one", test_auc=0.7), "champion")
    line.run("two", test_auc=0.8)
    assert line.evaluate("two")["champion"] == {"version": version, "value": 0.7}


def test_a_champion_without_this_metric_has_no_value(line: Line) -> None:
    version = line.register(line.run("one", other=0.7), "champion")
    line.run("two", test_auc=0.8)
    assert line.evaluate("two")["champion"] == {"version": version, "value": None}


def test_an_execution_without_a_run_is_named(line: Line) -> None:
    with pytest.raises(evaluate.RunNotFound, match=f"no experiment {line.model}"):
        line.evaluate("one")
    line.run("one", test_auc=0.6)
    with pytest.raises(evaluate.RunNotFound, match="no finished run with the tag execution=two"):
        line.evaluate("two")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_there_or_no_number_is_named(value: float, line: Line) -> None:
    line.run("one", test_auc=value)
    with pytest.raises(evaluate.MetricMissing, match="no number as metric test_auc; it has test_auc"):
        line.evaluate("one")
    with pytest.raises(evaluate.MetricMissing, match="as metric test_loss"):
        line.evaluate("one", "test_loss")


def test_an_mlflow_that_does_not_answer_is_worth_another_try() -> None:
    nobody = Tracking(f"http://127.0.0.1:{free_port()}", seconds=2)
    with pytest.raises(TrackingUnavailable, match="does not answer"):
        evaluate.evaluate(nobody, "m", "m", METRIC, "one")


def test_the_handlers_find_their_settings_in_the_environment(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.tracking.url)
    monkeypatch.setenv("MODEL", line.model)
    monkeypatch.setenv("METRIC", METRIC)
    monkeypatch.delenv("INGRESS_URL", raising=False)
    run_id = line.run("one", test_auc=0.8)
    version = line.register(run_id)
    found = evaluate.handler({"execution": "one", "view": "s3://a/views/one/"}, None)
    assert (found["run"], found["value"]) == (run_id, 0.8)
    deployed = deploy.handler({"execution": "one", "model": line.model, "run": run_id}, None)
    assert deployed == {"model": line.model, "version": version, "previous": None}
    assert line.champion == version


class Repository:
    """Loads what it is told to, or can't, as an ingress whose replicas fail."""

    def __init__(self, good: bool) -> None:
        self.good = good
        self.loaded: list[str] = []

    async def load(self, name: str) -> None:
        self.loaded.append(name)
        if not self.good:
            raise ModelFailed(name)

    async def unload(self, name: str) -> None:
        raise AssertionError(name)


Serve = Callable[[str, Repository], deploy.Ingress]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """The gateway over a small model, with keys, on a port of its own; gives an admin's way to it."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(model: str, repository: Repository) -> deploy.Ingress:
        uri = f"sqlite:///{tmp_path / 'keys.db'}"
        key, text = issue("pipeline", models=(model,), created=datetime.now(UTC), admin=True)
        open_store(uri).add(key)
        runtime = OnnxRuntime()
        runtime.load(tiny.save(tmp_path), threads=1)
        plane = DataPlane([ServedModel(model, "1", InputSchema(model, tiny.contract(), 10), Inline(runtime))], model)
        plane.repository = repository
        access = open_access(AccessSettings(keys=uri))
        gateway = Gateway(plane, TRANSPORTS, Admission(Bounds(2**20, 10), access, clock=time.monotonic))
        port = free_port()
        config = uvicorn.Config(gateway, host="127.0.0.1", port=port, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return deploy.Ingress(f"http://127.0.0.1:{port}", lambda: text)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(60)


def test_a_version_becomes_the_champion_once_the_ingress_has_loaded_it(line: Line, serve: Serve) -> None:
    before = line.register(line.run("one", test_auc=0.7), "champion")
    run_id = line.run("two", test_auc=0.8)
    version = line.register(run_id, "challenger")
    repository = Repository(good=True)
    found = deploy.deploy(line.tracking, serve(line.model, repository), line.model, run_id)
    assert found == {"model": line.model, "version": version, "previous": before}
    assert (line.champion, repository.loaded) == (version, [line.model])


def test_a_version_that_the_ingress_refuses_gives_the_alias_back(line: Line, serve: Serve) -> None:
    before = line.register(line.run("one", test_auc=0.7), "champion")
    run_id = line.run("two", test_auc=0.8)
    line.register(run_id)
    with pytest.raises(deploy.LoadRefused, match=f"answered 503: model {line.model} failed"):
        deploy.deploy(line.tracking, serve(line.model, Repository(good=False)), line.model, run_id)
    assert line.champion == before


def test_a_first_version_that_is_refused_leaves_no_champion(line: Line, serve: Serve) -> None:
    run_id = line.run("one", test_auc=0.7)
    line.register(run_id)
    with pytest.raises(deploy.LoadRefused):
        deploy.deploy(line.tracking, serve(line.model, Repository(good=False)), line.model, run_id)
    assert line.champion is None


def test_a_key_that_the_ingress_does_not_know_is_a_refusal(line: Line, serve: Serve) -> None:
    before = line.register(line.run("one", test_auc=0.7), "champion")
    run_id = line.run("two", test_auc=0.8)
    line.register(run_id)
    ingress = replace(serve(line.model, Repository(good=True)), key=lambda: "mtd_planted-canary")
    with pytest.raises(deploy.LoadRefused, match="answered 401") as raised:
        deploy.deploy(line.tracking, ingress, line.model, run_id)
    assert "canary" not in str(raised.value)
    assert line.champion == before


def test_an_ingress_that_does_not_answer_gives_the_alias_back(line: Line) -> None:
    before = line.register(line.run("one", test_auc=0.7), "champion")
    run_id = line.run("two", test_auc=0.8)
    line.register(run_id)
    nobody = deploy.Ingress(f"http://127.0.0.1:{free_port()}", lambda: "mtd_some-key")
    with pytest.raises(deploy.IngressUnavailable):
        deploy.deploy(line.tracking, nobody, line.model, run_id)
    assert line.champion == before


def test_an_alias_that_can_t_be_set_back_is_said_with_the_reason(line: Line, serve: Serve) -> None:
    before = line.register(line.run("one", test_auc=0.7), "champion")
    run_id = line.run("two", test_auc=0.8)
    version = line.register(run_id)
    ingress = serve(line.model, Repository(good=False))
    sent: list[str] = []

    def once_only(request: urllib.request.Request, seconds: float) -> Answer:
        sent.append(request.get_method())
        if sent.count("POST") > 1:
            raise OSError("gone")
        return over_http(request, seconds)

    with pytest.raises(deploy.AliasLeft, match=f"answered 503.* still on version {version}, was {before}"):
        deploy.deploy(replace(line.tracking, open=once_only), ingress, line.model, run_id)


def test_a_run_without_a_version_is_named(line: Line) -> None:
    run_id = line.run("one", test_auc=0.7)
    with pytest.raises(deploy.VersionNotFound, match=f"run {run_id} has registered no version"):
        deploy.deploy(line.tracking, None, line.model, run_id)


def test_the_admin_s_key_comes_from_its_secret(
    line: Line, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = line.run("one", test_auc=0.7)
    version = line.register(run_id)
    ingress = serve(line.model, Repository(good=True))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.tracking.url)
    monkeypatch.setenv("INGRESS_URL", ingress.url)
    with mock_aws():
        secrets = boto3.client("secretsmanager")
        arn = secrets.create_secret(Name="pipeline-key", SecretString=f"{ingress.key()}\n")["ARN"]
        empty = secrets.create_secret(Name="empty", SecretString="two words")["ARN"]
        monkeypatch.setenv("SECRET_ARN", empty)
        with pytest.raises(deploy.KeyUnusable, match="expected one key as its string"):
            deploy.handler({"execution": "one", "model": line.model, "run": run_id}, None)
        assert line.champion is None
        monkeypatch.setenv("SECRET_ARN", arn)
        found = deploy.handler({"execution": "one", "model": line.model, "run": run_id}, None)
    assert found == {"model": line.model, "version": version, "previous": None}
    assert ingress.key() not in capsys.readouterr().out
