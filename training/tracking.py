"""A training run as MLflow keeps it: recipe, metrics per epoch, pictures, weights.

The driver alone talks to MLflow, so workers need neither its address nor its credentials.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spark_jobs.contract import FILE_NAME as CONTRACT_FILE
from spark_jobs.contract import Contract, ContractBroken, first_problem, read_contract
from training.addresses import shown, sqlite_file
from training.data import View
from training.errors import RunNotFound
from training.evaluate import Scores, pictures
from training.network import TabularNetwork
from training.recipe import Recipe, Resources
from training.registry import AlreadyThere, VersionNotFound, client, mapped_errors

if TYPE_CHECKING:
    import numpy as np

    from training.train import EpochReport

RECIPE_FILE = "recipe.json"
WEIGHTS_FILE = "weights.safetensors"
BY_MONTH_FILE = "test_by_month.json"


@dataclass(frozen=True)
class TrackedRun:
    """One MLflow run, in the experiment that has the model's name."""

    uri: str
    model: str
    run_id: str

    @classmethod
    def start(
        cls, uri: str, model: str, view: View, recipe: Recipe, resources: Resources, tags: Mapping[str, str]
    ) -> TrackedRun:
        """Open a run and record what it is made from, so that it can be resumed and repeated."""
        mlflow = client(uri, create=True)
        with mapped_errors(uri, f"experiment {model}"):
            run_id = mlflow.create_run(
                experiment_of(uri, model), tags={**tags, "contract.digest": view.contract.digest}
            ).info.run_id
            run = cls(uri, model, run_id)
            flat = {**recipe.model_dump(exclude={"architecture"}), **recipe.architecture.model_dump()}
            for name, value in {**flat, "workers": resources.workers, "view": view.contract.view}.items():
                mlflow.log_param(run_id, name, value)
            mlflow.log_text(run_id, recipe.model_dump_json(indent=1), RECIPE_FILE)
            mlflow.log_text(run_id, view.contract.to_json(), CONTRACT_FILE)
        return run

    @classmethod
    def find(cls, uri: str, model: str, run_id: str | None) -> TrackedRun:
        """A given run of a model, or its newest finished one.

        Raises:
            RunNotFound: there is none.
            RegistryUnreachable: nothing answers at ``uri``.
        """
        mlflow = client(uri)
        try:
            with mapped_errors(uri, f"run {run_id}"):
                experiment = mlflow.get_experiment_by_name(model)
                if run_id is not None:
                    found = mlflow.get_run(run_id)
                    if experiment is None or found.info.experiment_id != experiment.experiment_id:
                        raise RunNotFound(f"run {run_id} is not a run of {model}")
                    return cls(uri, model, run_id)
                if experiment is None:
                    raise RunNotFound(
                        f"{model} has no run at {shown(uri)}: train it with `python -m training train {model}`"
                    )
                runs = mlflow.search_runs(
                    [experiment.experiment_id],
                    "attributes.status = 'FINISHED'",
                    order_by=["start_time DESC"],
                    max_results=1,
                )
        except VersionNotFound as error:
            raise RunNotFound(f"{model} has no run {run_id} at {shown(uri)}") from error
        if not runs:
            raise RunNotFound(
                f"{model} has no finished run at {shown(uri)}: train it with `python -m training train {model}`"
            )
        return cls(uri, model, runs[0].info.run_id)

    @classmethod
    def resume(cls, uri: str, model: str, run_id: str, view: View, tags: Mapping[str, str]) -> TrackedRun:
        """Reopen a run that did not finish; ``tags`` are added to its own.

        Raises:
            RunNotFound: no such run, or it has finished.
            ContractBroken: it was trained on another view.
        """
        run = cls.find(uri, model, run_id)
        with mapped_errors(uri, f"run {run_id}"):
            status = client(uri).get_run(run_id).info.status
        if status == "FINISHED":
            raise RunNotFound(f"run {run_id} has finished: there is nothing to resume")
        if run.contract().digest != view.contract.digest:
            raise ContractBroken(f"run {run_id} was started on another view than {view.folder}")
        with mapped_errors(uri, f"run {run_id}"):
            client(uri).update_run(run_id, "RUNNING")
            for key, value in tags.items():
                client(uri).set_tag(run_id, key, value)
        return run

    def epoch(self, report: EpochReport) -> None:
        self._metrics(
            {
                "train_loss": report.train_loss,
                "validation_log_loss": report.validation_log_loss,
                "validation_auc": report.validation_auc,
                "epoch_seconds": report.seconds,
            },
            step=report.epoch,
        )

    def finish(
        self,
        network: TabularNetwork,
        label: np.ndarray,
        probability: np.ndarray,
        overall: Scores,
        by_month: Mapping[str, Scores],
        on_upload: Callable[[str], None],
    ) -> None:
        """Upload the weights, the test scores and the pictures, and close the run.

        ``on_upload`` is told of each file as it has gone up.
        """
        self._metrics(overall.named("test"))
        for month, found in by_month.items():
            self._metrics(found.named(f"test_{month}"))
        mlflow = client(self.uri)
        with mapped_errors(self.uri, f"run {self.run_id}"), tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / WEIGHTS_FILE
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
            mlflow.log_artifact(self.run_id, str(weights))
            on_upload(f"uploaded {WEIGHTS_FILE} ({weights.stat().st_size / 1e6:.1f} MB)")
            mlflow.log_dict(
                self.run_id, {month: found.named("test") for month, found in by_month.items()}, BY_MONTH_FILE
            )
            for name, figure in pictures(label, probability, by_month).items():
                mlflow.log_figure(self.run_id, figure, name)
                on_upload(f"uploaded {name}")
            mlflow.set_terminated(self.run_id, "FINISHED")

    def fail(self) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).set_terminated(self.run_id, "FAILED")

    def recipe(self) -> Recipe:
        """The recipe that the run was started with."""
        with self._artifact(RECIPE_FILE) as file:
            try:
                return Recipe.model_validate_json(file.read_bytes())
            except ValidationError as error:
                raise RunNotFound(
                    f"run {self.run_id}: {RECIPE_FILE} is not a recipe: {first_problem(error)}"
                ) from error

    def contract(self) -> Contract:
        """The contract of the view that the run was trained on."""
        with self._artifact(CONTRACT_FILE) as file:
            return read_contract(file)

    def network(self) -> TabularNetwork:
        """The trained network, in eval mode.

        Raises:
            RunNotFound: the run has no weights, or they are of another network.
        """
        network = TabularNetwork(self.contract(), self.recipe().architecture)
        with self._artifact(WEIGHTS_FILE) as file:
            try:
                network.load_state_dict(load_file(file))
            except (SafetensorError, RuntimeError) as error:
                raise RunNotFound(f"run {self.run_id}: {WEIGHTS_FILE} does not fit its recipe: {error}") from error
        return network.eval()

    def _metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_batch(self.run_id, [Metric(name, value, now, step) for name, value in values.items()])

    @contextmanager
    def _artifact(self, name: str) -> Iterator[Path]:
        """A copy of one artifact: a local store would give its own file."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                yield Path(client(self.uri).download_artifacts(self.run_id, name, folder))
            except (MlflowException, OSError) as error:
                raise RunNotFound(
                    f"run {self.run_id} has no {name}: it is not a finished run of `training train`"
                ) from error


@dataclass(frozen=True)
class OpenRun:
    """An MLflow run whose block makes a version, in the experiment that has the model's name."""

    uri: str
    run_id: str

    @classmethod
    @contextmanager
    def start(
        cls, uri: str, model: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> Iterator[Self]:
        """A run that ends with the block, as failed where the block raises.

        Raises:
            RegistryUnreachable: nothing answers at ``uri``.
        """
        experiment = experiment_of(uri, model)
        with mapped_errors(uri, f"experiment {model}"):
            mlflow = client(uri)
            run = cls(uri, mlflow.create_run(experiment, tags=dict(tags or {})).info.run_id)
            for name, value in params.items():
                mlflow.log_param(run.run_id, name, value)
        try:
            yield run
        except BaseException:
            run._end("FAILED")
            raise
        run._end("FINISHED")

    def text(self, content: str, file: str) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_text(self.run_id, content, file)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self._log([(name, value, step) for name, value in values.items()])

    def _log(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_batch(self.run_id, [Metric(name, value, now, step) for name, value, step in values])

    def _end(self, status: str) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).set_terminated(self.run_id, status)


def experiment_of(uri: str, model: str) -> str:
    """The id of the experiment that has a model's name, made if it isn't there.

    Raises:
        RegistryUnreachable: nothing answers at ``uri``.
    """
    mlflow = client(uri, create=True)
    what = f"experiment {model}"
    with mapped_errors(uri, what):
        if found := mlflow.get_experiment_by_name(model):
            return str(found.experiment_id)
    try:
        with mapped_errors(uri, what):
            return str(mlflow.create_experiment(model, artifact_location=_artifact_location(uri, model)))
    except AlreadyThere:
        # Another run of the model began at the same time.
        with mapped_errors(uri, what):
            if found := mlflow.get_experiment_by_name(model):
                return str(found.experiment_id)
        raise


def _artifact_location(uri: str, model: str) -> str | None:
    """Beside the database of a local store; a server knows its own place."""
    file = sqlite_file(uri)
    return (file.parent / "artifacts" / model).resolve().as_uri() if file else None
