"""The pipeline runs: new data in S3 becomes a served version, is turned away at the gate, or fails with its reason.

Real are the recorded state machine, rule, handlers, tables and topic, MLflow, Spark and the training; the functions
that stand in for the jobs are named by ``swapped.SWAPPED``. Spark and the training run once, for the good data; what
the execution that the gate turns away takes over from it is named by ``swapped.REUSED``.
"""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from infra.aws.states import states_of
from infra.check.emulator import emulator
from spark_jobs.contract import read_contract
from spark_jobs.online import Schema, read
from spark_jobs.stores import open_store
from spark_jobs.views.flights.sources import installed_folder
from tests.integration.infra.clients import REGION
from tests.integration.infra.flaky import Flaky, flaky
from tests.integration.infra.mlflow_server import mlflow_server, wait_for
from tests.integration.infra.recorded_pipeline import Addresses, Execution, Pipeline, definition_of, recorded
from tests.integration.infra.swapped import REUSED, SWAPPED, integrations, swapped

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

MODEL = "flight-delay"
REACHED, TOO_HIGH = 0.5, 0.99
FLIGHT_NUMBERS = 50
"""One in so many flight numbers is in the sample, with all its days: 6,000 flights of some hundred entities."""

TRANSIENT = 2
"""Attempts that meet an answer of 503."""

CALLS_PER_ATTEMPT = 2
"""boto3's, of a step."""


def sample() -> dict[str, bytes]:
    """The source tables: some flights of the whole year, and all of the rest."""
    folder = installed_folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        rows = csv.reader(io.TextIOWrapper(archive.open("flights.csv"), "utf-8", newline=""))
        header = next(rows)
        number = header.index("flight")
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(row for row in rows if int(row[number]) % FLIGHT_NUMBERS == 1)
    others = {name: (folder / name).read_bytes() for name in ("airports.csv", "planes.csv", "weather.csv")}
    return {"flights.csv": text.getvalue().encode(), **others}


@dataclass(frozen=True)
class Cloud:
    """``aws`` and ``mlflow`` are the ways by which the handlers reach them."""

    pipeline: Pipeline
    registry: MlflowClient
    aws: Flaky
    mlflow: Flaky
    environment: Mapping[str, str]
    tables: Mapping[str, bytes]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("mlflow")
    with ExitStack() as stack:
        url = stack.enter_context(mlflow_server(folder))
        server = stack.enter_context(emulator(tmp_path_factory.mktemp("emulator")))
        aws, mlflow = stack.enter_context(flaky(server.url)), stack.enter_context(flaky(url))
        pipeline = Pipeline(recorded(REACHED), server, Addresses(url, mlflow.url, aws.url))
        tables = sample()
        wait_for(url, folder)
        registry = MlflowClient(tracking_uri=url, registry_uri=url)
        yield Cloud(pipeline, registry, aws, mlflow, server.environment(REGION), tables)


@dataclass(frozen=True)
class Run:
    """``versions``: the model's versions after it, ``champion`` the one that is served."""

    execution: Execution
    message: Mapping[str, str]
    versions: list[str]
    champion: str | None


def run(cloud: Cloud, folder: str) -> Run:
    execution = cloud.pipeline.run(folder)
    (message,) = cloud.pipeline.messages()
    models = cloud.registry.search_registered_models(f"name = '{MODEL}'")
    versions = [version.version for version in cloud.registry.search_model_versions(f"name = '{MODEL}'")]
    champion = models[0].aliases.get("champion") if models else None
    return Run(execution, message, versions, champion)


@pytest.fixture(scope="module")
def bad_data(cloud: Cloud) -> Run:
    """A table has lost a column, and DynamoDB does not answer at first."""
    table = cloud.tables["planes.csv"].replace(b"seats", b"chairs", 1)
    cloud.pipeline.put("bad", {**cloud.tables, "planes.csv": table})
    cloud.aws.refuse(TRANSIENT * CALLS_PER_ATTEMPT, "DynamoDB_20120810.PutItem")
    return run(cloud, "bad")


@pytest.fixture(scope="module")
def good(cloud: Cloud, bad_data: Run) -> Run:
    cloud.pipeline.put("good", cloud.tables)
    return run(cloud, "good")


@pytest.fixture(scope="module")
def rejected(cloud: Cloud, good: Run) -> Run:
    """The same data by a gate that no model of it passes; MLflow fails at first."""
    before = good.execution.output
    reused = {
        "BuildFeatures": cloud.pipeline.make_job("copy_view", VIEW=before["view"]),
        "Train": cloud.pipeline.make_job("copy_run", RUN=before["evaluation"]["run"]),
    }
    assert reused.keys() == REUSED.keys()
    cloud.pipeline.change(recorded(TOO_HIGH), reused)
    cloud.pipeline.put("again", cloud.tables)
    cloud.mlflow.refuse(TRANSIENT, "runs/search")
    return run(cloud, "again")


def test_only_the_jobs_that_the_emulator_cannot_run_are_swapped(cloud: Cloud) -> None:
    definition = definition_of(cloud.pipeline.recording)
    assert integrations(definition) == {state: integration for state, (integration, _) in SWAPPED.items()}
    before, after = states_of(definition), states_of(swapped(definition, dict.fromkeys(SWAPPED, "arn")))
    for name, state in before.items():
        changed = {key for key in state if state[key] != after[name][key]}
        assert changed <= ({"Resource", "Parameters", "Branches"} if name in {*SWAPPED, "Release"} else set()), name


class TestBadData:
    def test_ends_in_a_message_and_a_failure_with_the_reason(self, bad_data: Run) -> None:
        assert bad_data.execution.states == ["ValidateData", "NotifyFailure", "Failed"]
        assert bad_data.execution.status == "FAILED"
        assert bad_data.execution.described["error"] == "BadData"
        reason = "table planes: column seats: expected in the first line of planes.csv, found tailnum, year"
        assert reason in bad_data.execution.described["cause"]
        assert bad_data.message["Subject"] == "mtd-dev-pipeline: failed"
        assert "the pipeline failed with BadData" in bad_data.message["Message"]
        assert reason in bad_data.message["Message"]
        assert bad_data.execution.name in bad_data.message["Message"]

    def test_is_not_tried_again_while_what_may_pass_is(self, cloud: Cloud, bad_data: Run) -> None:
        assert cloud.aws.refused == TRANSIENT * CALLS_PER_ATTEMPT
        failures = bad_data.execution.failures("ValidateData")
        assert failures == ["IdempotencyPersistenceLayerError"] * TRANSIENT + ["BadData"]
        assert bad_data.execution.attempts("ValidateData") == TRANSIENT + 1

    def test_makes_no_model(self, bad_data: Run) -> None:
        assert bad_data.versions == []


class TestGoodData:
    def test_goes_through_every_state(self, good: Run) -> None:
        assert good.execution.status == "SUCCEEDED", good.execution.log.read_text()[-20_000:]
        states = good.execution.states
        assert states[:5] == ["ValidateData", "BuildFeatures", "Train", "Evaluate", "Gate"]
        assert states[5:7] == ["Register", "Release"]
        assert set(states[7:9]) == {"Deploy", "PublishOnlineFeatures"}
        assert states[9:] == ["Notify", "Succeeded"]
        assert [state for state in states if good.execution.failures(state)] == []

    def test_is_started_by_its_mark_alone(self, cloud: Cloud, good: Run) -> None:
        started = json.loads(good.execution.described["input"])
        assert started["detail-type"] == "Object Created"
        assert started["detail"]["object"]["key"] == "incoming/good/_READY"
        before = cloud.pipeline.executions()
        for key in ("elsewhere/good/_READY", "incoming/good/_READY.csv"):
            cloud.pipeline.client("s3").put_object(Bucket=cloud.pipeline.output("data_bucket"), Key=key)
        time.sleep(0.5)
        assert cloud.pipeline.executions() == before

    def test_makes_a_version_of_the_execution_s_run_that_is_the_champion(self, cloud: Cloud, good: Run) -> None:
        assert (good.versions, good.champion) == (["1"], "1")
        version = cloud.registry.get_model_version_by_alias(MODEL, "champion")
        trained = cloud.registry.get_run(version.run_id)
        assert trained.data.tags["execution"] == good.execution.name
        assert good.execution.output["evaluation"] == {
            "run": version.run_id,
            "metric": "test_auc",
            "value": trained.data.metrics["test_auc"],
            "champion": None,
        }

    def test_says_which_version_answers_now(self, good: Run) -> None:
        assert good.message["Subject"] == "mtd-dev-pipeline: new version"
        found = good.execution.output["evaluation"]
        figures = f"Run {found['run']}: test_auc is {found['value']}, expected at least {REACHED}."
        assert f"flight-delay: version 1 is the champion. {figures}" in good.message["Message"]

    def test_publishes_the_latest_values_of_each_entity(
        self, cloud: Cloud, good: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view = tmp_path / "made"
        fetch(cloud, good.execution.output["view"], view)
        schema = Schema.of(read_contract(view))
        rows = pd.read_parquet(view / "view").sort_values("scheduled_departure")
        latest = rows.groupby("flight_id").tail(1)
        assert len(rows) > 5000
        assert 50 < len(latest) < len(rows) / 5
        table = cloud.pipeline.output("online_store_table")
        assert cloud.pipeline.client("dynamodb").scan(TableName=table, Select="COUNT")["Count"] == len(latest)
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        with closing(open_store(f"dynamodb:{table}")) as store:
            found = read(store, schema, [[key] for key in latest.flight_id])
        for features, (_, row) in zip(found, latest.iterrows(), strict=True):
            assert features is not None
            assert pd.Timestamp(features.event_time) == row["scheduled_departure"]
            for name, value in features.values.items():
                assert value == row[name] or (value is None and pd.isna(row[name])), (row["flight_id"], name)


def fetch(cloud: Cloud, folder: str, to: Path) -> None:
    s3 = cloud.pipeline.client("s3")
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        file = to / entry["Key"].removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, entry["Key"], str(file))


class TestAModelThatIsNotGoodEnough:
    def test_stops_at_the_gate(self, rejected: Run) -> None:
        assert rejected.execution.status == "SUCCEEDED", rejected.execution.log.read_text()[-20_000:]
        assert rejected.execution.states == [
            "ValidateData",
            "BuildFeatures",
            "Train",
            "Evaluate",
            "Gate",
            "NotifyRejected",
            "Rejected",
        ]

    def test_is_not_registered(self, good: Run, rejected: Run) -> None:
        assert (rejected.versions, rejected.champion) == (good.versions, good.champion)

    def test_is_told_with_its_figures(self, cloud: Cloud, rejected: Run) -> None:
        assert rejected.message["Subject"] == "mtd-dev-pipeline: rejected"
        found = rejected.execution.output["evaluation"]
        trained = cloud.registry.get_run(found["run"])
        assert trained.data.tags["execution"] == rejected.execution.name
        figures = f"Run {found['run']}: test_auc is {trained.data.metrics['test_auc']}, expected at least {TOO_HIGH}."
        assert f"flight-delay: no new version. {figures}" in rejected.message["Message"]
        assert found["champion"]["version"] == "1"

    def test_is_evaluated_once_mlflow_answers_again(self, cloud: Cloud, rejected: Run) -> None:
        assert cloud.mlflow.refused == TRANSIENT
        assert rejected.execution.failures("Evaluate") == ["TrackingUnavailable"] * TRANSIENT
        assert rejected.execution.attempts("Evaluate") == TRANSIENT + 1
