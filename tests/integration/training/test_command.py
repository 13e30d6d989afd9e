"""``python -m training`` with a registry of its own in SQLite."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spark_jobs.contract import parse_contract, read_contract
from tests import synthetic
from tests.integration.training import in_process
from tests.shell import environment
from tests.unit.spark_jobs import aws
from training.data import View
from training.export import OUTPUT, feed
from training.registry import (
    CHALLENGER,
    CHAMPION,
    CONTRACT_FILE,
    MODEL_FILE,
    Registry,
    VersionNotFound,
    client,
    digest_of,
    local_uri,
)

pytestmark = pytest.mark.integration

MODEL = "returns"
EPOCHS = 2


@dataclass(frozen=True)
class Trained:
    folder: Path
    view: Path
    train_output: str
    register_output: str

    @property
    def uri(self) -> str:
        return local_uri(self.folder / "mlruns")


@pytest.fixture(scope="module")
def trained(ray_cluster: str, view_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run trained by two workers, and registered, by the two commands."""
    folder = tmp_path_factory.mktemp("project")
    flags = (
        *("--epochs", str(EPOCHS), "--batch-size", "128", "--width", "32", "--workers", "2"),
        *("--tag", "execution=id:1", "--tag", "by=a=b"),
    )
    train = in_process.training(folder, "train", MODEL, "--view", str(view_folder), *flags)
    assert train.returncode == 0, train.stderr
    register = in_process.training(folder, "register", MODEL, "--view", str(view_folder))
    assert register.returncode == 0, register.stderr
    return Trained(folder, view_folder, train.stdout, register.stdout)


def test_training_says_each_stage_each_epoch_and_each_upload(trained: Trained) -> None:
    for epoch in range(1, EPOCHS + 1):
        assert f"epoch {epoch}/{EPOCHS}  loss" in trained.train_output
    assert "uploaded roc.png" in trained.train_output
    assert "✓ evaluate on the test split" in trained.train_output
    assert "Traceback" not in trained.train_output


def test_two_workers_share_the_rows_and_learn(trained: Trained) -> None:
    mlflow = client(trained.uri)
    run = mlflow.get_run(Registry(trained.uri).resolve(MODEL, CHAMPION).run_id)
    assert run.data.params["workers"] == "2"
    assert run.data.metrics["test_auc"] > 0.75
    losses = mlflow.get_metric_history(run.info.run_id, "validation_log_loss")
    assert min(metric.value for metric in losses) < 0.6, "the label can be learnt: chance is 0.69"


def test_the_run_keeps_its_recipe_its_metrics_by_epoch_and_its_pictures(trained: Trained) -> None:
    mlflow = client(trained.uri)
    run = mlflow.get_run(Registry(trained.uri).resolve(MODEL, CHAMPION).run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == str(EPOCHS)
    assert run.data.params["width"] == "32"
    assert len(mlflow.get_metric_history(run.info.run_id, "validation_log_loss")) == EPOCHS
    assert {"test_auc", "test_ap", "test_brier", "test_log_loss", "test_2024-06_auc"} <= set(run.data.metrics)
    kept = {artifact.path for artifact in mlflow.list_artifacts(run.info.run_id)}
    pictures = {"roc.png", "precision_recall.png", "calibration.png", "by_month.png"}
    assert kept >= pictures | {"contract.json", "recipe.json", "weights.safetensors", "test_by_month.json"}


def test_the_run_is_found_by_the_tags_that_it_was_given(trained: Trained) -> None:
    mlflow = client(trained.uri)
    [experiment] = [found for found in mlflow.search_experiments() if found.name == MODEL]
    [run] = mlflow.search_runs([experiment.experiment_id], "tags.execution = 'id:1'")
    assert run.info.run_id == Registry(trained.uri).resolve(MODEL, CHAMPION).run_id
    assert run.data.tags["by"] == "a=b"
    assert run.data.tags["contract.digest"] == read_contract(trained.view).digest


def test_the_version_holds_a_graph_and_a_contract_that_hash_to_its_tags(trained: Trained, tmp_path: Path) -> None:
    registry = Registry(trained.uri)
    version = registry.resolve(MODEL, CHAMPION)
    stored = registry.download(version, tmp_path / "copy")
    assert digest_of(stored / MODEL_FILE) == version.model_digest
    assert digest_of(stored / CONTRACT_FILE) == version.contract_digest
    assert parse_contract((stored / CONTRACT_FILE).read_text(), "it") == read_contract(trained.view)


def test_the_version_has_a_signature_and_an_example_that_mlflow_itself_can_answer(trained: Trained) -> None:
    import mlflow
    import onnxruntime

    mlflow.set_tracking_uri(trained.uri)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@{CHAMPION}")
    contract = read_contract(trained.view)
    signature = model.metadata.signature
    assert [column.name for column in signature.inputs] == [column.name for column in contract.features]
    assert [column.name for column in signature.outputs] == [OUTPUT]
    inputs = feed(contract, View.open(trained.view).rows("test"))
    answer = model.predict(pd.DataFrame(inputs))
    local = mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{CHAMPION}")
    session = onnxruntime.InferenceSession(str(Path(local) / MODEL_FILE), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(answer[OUTPUT].to_numpy(), session.run([OUTPUT], inputs)[0])
    assert list(model.metadata.load_input_example(local).columns) == list(inputs)


def test_the_first_version_is_the_champion_and_the_next_the_challenger(trained: Trained) -> None:
    again = in_process.training(trained.folder, "register", MODEL, "--view", str(trained.view))
    assert again.returncode == 0, again.stderr
    assert "already exists" not in again.stderr + again.stdout
    registry = Registry(trained.uri)
    assert registry.resolve(MODEL, CHAMPION).version == "1"
    assert registry.resolve(MODEL, CHALLENGER).version == "2"
    # The same run exports to the same bytes.
    assert registry.resolve(MODEL, CHAMPION).model_digest == registry.resolve(MODEL, CHALLENGER).model_digest


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_is_resumed_where_it_stopped(trained: Trained, ray_cluster: str, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "training", "train", MODEL, "--view", str(trained.view), "--epochs", "30"]
    variables = environment() | {"RAY_ADDRESS": ray_cluster}
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "epoch 2/30" in line:
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=400)
    assert process.returncode == 130
    run_id = next(line.split()[-1] for line in said if line.startswith("✓ open a run"))

    tag = ("--tag", "execution=id:2")
    resumed = in_process.training(tmp_path, "train", MODEL, "--view", str(trained.view), "--resume", run_id, *tag)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/30" not in resumed.stdout
    assert "epoch 30/30" in resumed.stdout
    assert f"run {run_id} of {MODEL} is ready to register" in resumed.stdout
    assert client(local_uri(tmp_path / "mlruns")).get_run(run_id).data.tags["execution"] == "id:2"

    again = in_process.training(tmp_path, "train", MODEL, "--view", str(trained.view), "--resume", run_id)
    assert again.returncode == 2
    assert f"run {run_id} has finished: there is nothing to resume" in again.stderr


def test_an_alias_or_a_model_that_is_not_there_is_not_found(trained: Trained) -> None:
    with pytest.raises(VersionNotFound, match="no returns@shadow in the registry"):
        Registry(trained.uri).resolve(MODEL, "shadow")
    with pytest.raises(VersionNotFound, match="no nothing@champion in the registry"):
        Registry(trained.uri).resolve("nothing", CHAMPION)


def unreachable() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["train", MODEL, "--view", "nowhere"], "error: no contract at nowhere"),
        (["train", MODEL, "--view", "VIEW", "--resume", "1234"], "error: returns has no run 1234"),
        (["register", MODEL, "--view", "VIEW", "--run", "1234"], "error: returns has no run 1234"),
        (["register", "nothing", "--view", "VIEW"], "error: nothing has no run at sqlite"),
    ],
    ids=["no view", "no run to resume", "no run to register", "nothing trained"],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(command: list[str], says: str, trained: Trained) -> None:
    found = in_process.training(trained.folder, *[str(trained.view) if word == "VIEW" else word for word in command])
    assert found.returncode == 2
    assert found.stderr.startswith(says)
    assert len(found.stderr.splitlines()) == 1
    assert "Traceback" not in found.stdout


def test_a_registry_that_does_not_answer_is_one_line_and_exit_code_2(trained: Trained) -> None:
    uri = unreachable()
    found = in_process.training(trained.folder, "train", MODEL, "--view", str(trained.view), MLFLOW_TRACKING_URI=uri)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith(f"error: the registry at {uri} does not answer")


def test_a_run_is_not_registered_against_another_view(trained: Trained, tmp_path: Path) -> None:
    synthetic.write_view(tmp_path / "other", 1000)
    found = in_process.training(trained.folder, "register", MODEL, "--view", str(tmp_path / "other"))
    assert found.returncode == 2
    assert "was trained on a view with the contract" in found.stderr


def test_months_are_kept_as_json_too(trained: Trained) -> None:
    mlflow = client(trained.uri)
    run_id = Registry(trained.uri).resolve(MODEL, CHAMPION).run_id
    months = json.loads(Path(mlflow.download_artifacts(run_id, "test_by_month.json")).read_text())
    assert set(months) == {"2024-05", "2024-06"}
    assert months["2024-06"]["test_rows"] > 0


def test_a_run_is_registered_with_its_view_in_s3(trained: Trained) -> None:
    with aws.served() as environment:
        s3 = aws.client("s3", environment)
        s3.create_bucket(Bucket="a-bucket", CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        for file in trained.view.rglob("*.*"):
            s3.upload_file(str(file), "a-bucket", f"views/orders/{file.relative_to(trained.view)}")
        found = in_process.training(
            trained.folder,
            "register",
            MODEL,
            "--view",
            "s3://a-bucket/views/orders",
            "--alias",
            "from-s3",
            **environment,
        )
    assert found.returncode == 0, found.stderr
    assert "✓ fetch s3://a-bucket/views/orders" in found.stdout
    registry = Registry(trained.uri)
    assert registry.resolve(MODEL, "from-s3").model_digest == registry.resolve(MODEL, CHAMPION).model_digest


def test_a_run_that_diverges_ends_with_what_to_do_and_is_nothing_to_register(trained: Trained) -> None:
    """The last one: its workers go on until Ray ends."""
    flags = ("--view", str(trained.view), "--epochs", "1", "--batch-size", "128", "--learning-rate", "1e30")
    found = in_process.training(trained.folder, "train", "diverged", *flags)
    assert found.returncode == 2
    assert re.fullmatch(
        r"error: the loss of epoch 1 is (nan|inf): the run has diverged; try a --learning-rate below 1e\+30\n",
        found.stderr,
    )
    found = in_process.training(trained.folder, "register", "diverged", "--view", str(trained.view))
    assert found.returncode == 2
