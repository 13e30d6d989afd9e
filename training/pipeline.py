"""The two steps from a view to a version: train and evaluate; export, check and register."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from console import say, stage
from spark_jobs.contract import ContractBroken
from training.addresses import shown
from training.data import Examples, View, Vocabularies
from training.divergence import require_finite
from training.evaluate import scores, scores_by_month
from training.export import check_against_torch, export, feed
from training.network import probabilities
from training.recipe import Recipe, Resources
from training.registry import TABULAR, ModelVersion, Registry, alias_for, require_name
from training.tracking import TrackedRun
from training.train import EpochReport, fit
from training.workers import cluster

EXAMPLE_ROWS = 3


def train(
    model: str,
    *,
    view_folder: Path,
    recipe: Recipe,
    resources: Resources,
    storage: Path,
    uri: str,
    resume: str | None = None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> TrackedRun:
    """Train on a view, score the test split, and record both in the MLflow at ``uri``.

    With ``resume``, that run goes on from its last checkpoint, with the recipe it was started with. The
    run has ``tags`` before it trains, so that whoever started this can find it.

    Raises:
        ContractError: the view is not what its contract says.
        TrainingError: nothing to train on, the workers gave up, or there is no such run to resume.
        RegistryError: MLflow can't be reached; NameTaken: the name has versions of another kind.
    """
    with stage(f"open view {view_folder}") as step:
        view = View.open(view_folder)
        # Read in full before anything is started: a wrong label fails here, not in three workers in turn.
        examples = _examples(view, recipe)
        counts = ", ".join(f"{len(rows):,} {name}" for name, rows in examples.items())
        step.detail = f"{len(view.contract.features)} features; rows: {counts}"
    with stage(f"open a run in {shown(uri)}") as step:
        require_name(uri, model, TABULAR)
        run = (
            TrackedRun.resume(uri, model, resume, view, tags)
            if resume
            else TrackedRun.start(uri, model, view, recipe, resources, tags)
        )
        recipe = run.recipe()
        step.detail = f"run {run.run_id}"
    try:
        with stage(f"train with {resources.workers} worker(s) on Ray") as step, cluster():

            def on_epoch(report: EpochReport) -> None:
                for loss in (report.train_loss, report.validation_log_loss):
                    require_finite(loss, f"epoch {report.epoch}", recipe.learning_rate)
                run.epoch(report)
                step.note(
                    f"epoch {report.epoch}/{recipe.epochs}  loss {report.train_loss:.4f}  "
                    f"validation log-loss {report.validation_log_loss:.4f}  AUC {report.validation_auc:.4f}  "
                    f"{report.seconds:.1f} s"
                )

            network = fit(view, recipe, resources, name=run.run_id, storage=storage, on_epoch=on_epoch)
        with stage("evaluate on the test split, and upload weights and pictures") as step:
            test = examples["test"]
            probability = probabilities(
                network, torch.from_numpy(test.numeric), torch.from_numpy(test.categories)
            ).numpy()
            overall = scores(test.label, probability)
            by_month = scores_by_month(test.event_time, test.label, probability, view.contract.reporting_timezone)
            run.finish(network, test.label, probability, overall, by_month, on_upload=step.note)
            for month, found in by_month.items():
                step.note(f"{month}  {found}  ({found.rows:,} rows)")
            step.detail = str(overall)
    except BaseException:
        run.fail()
        raise
    say(f"run {run.run_id} of {model} is ready to register")
    return run


def register(model: str, *, view_folder: Path, uri: str, run_id: str | None, alias: str | None) -> ModelVersion:
    """Export a run's network, hold the graph against it on the whole test split, and register it.

    The first version of a model becomes its champion, a later one its challenger, unless ``alias`` says otherwise.

    Raises:
        ContractBroken: the view is not the one that the run was trained on.
        TrainingError: there is no such run, or the graph does not answer as the network does.
        RegistryError: MLflow can't be reached; NameTaken: the name has versions of another kind.
    """
    registry = Registry(uri)
    with stage(f"fetch the network of {model} from {shown(uri)}") as step:
        run = TrackedRun.find(uri, model, run_id)
        require_name(uri, model, TABULAR)
        view = View.open(view_folder)
        trained_on = run.contract().digest
        if trained_on != view.contract.digest:
            raise ContractBroken(
                f"run {run.run_id} was trained on a view with the contract {trained_on[:12]}, "
                f"{view_folder} has {view.contract.digest[:12]}: name the view that it was trained on"
            )
        network, recipe = run.network(), run.recipe()
        step.detail = f"run {run.run_id}"
    with stage("export to ONNX, preprocessing included") as step:
        vocabularies = Vocabularies.of(view.contract, recipe.architecture.min_category_rows)
        graph = export(network, view.contract, vocabularies)
        step.detail = f"{graph.ByteSize() / 1e6:.1f} MB"
    with stage("hold the graph against the network on the test split") as step:
        rows = view.rows("test")
        inputs = feed(view.contract, rows)
        difference = check_against_torch(graph, network, view.examples("test", vocabularies), inputs)
        step.detail = f"largest difference {difference:.1e} on {rows.num_rows:,} rows"
    with stage(f"register in {shown(uri)}") as step:
        example = {name: values[:EXAMPLE_ROWS] for name, values in inputs.items()}
        version = registry.publish(model, graph, view.contract, example, run.run_id)
        alias = alias or alias_for(uri, model, version.version)
        registry.set_alias(model, alias, version.version)
        step.detail = f"{model} version {version.version} @{alias}  sha256 {version.model_digest[:12]}…"
    return version


def _examples(view: View, recipe: Recipe) -> dict[str, Examples]:
    vocabularies = Vocabularies.of(view.contract, recipe.architecture.min_category_rows)
    examples = {}
    for split in ("train", "validation", "test"):
        examples[split] = view.examples(split, vocabularies)
        if not len(examples[split]):
            raise ContractBroken(f"{view.folder}: the split {split} has no rows, and training needs some in each")
    return examples
