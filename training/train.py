"""Ray Train: the loop that each worker runs, and the driver that watches it.

Each epoch seeds its own shuffling and dropout, so an epoch that is repeated after a worker was
lost is the same epoch: a resumed run ends with the weights of one that was never interrupted.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Ray Train reads these when it is imported. Reports reach the driver once an interval.
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
# A worker at a lower priority than its driver only makes the run longer.
os.environ.setdefault("RAY_worker_niceness", "0")

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from torch import Tensor, nn

from console import one_line
from training.data import Examples, View, Vocabularies
from training.errors import TrainingFailed
from training.evaluate import scores
from training.network import TabularNetwork, probabilities
from training.recipe import Recipe, Resources

CHECKPOINT_FILE = "state.pt"
KEPT_CHECKPOINTS = 2
SELECTION_METRIC = "validation_log_loss"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class EpochReport:
    """One epoch, as rank 0 saw it. ``epoch`` counts from 1; ``pid`` is rank 0's process."""

    epoch: int
    train_loss: float
    validation_log_loss: float
    validation_auc: float
    seconds: float
    pid: int


@contextmanager
def cluster() -> Iterator[None]:
    """The Ray cluster that ``RAY_ADDRESS`` names, or a private one of this machine for the time of the block."""
    address = os.environ.get("RAY_ADDRESS", "local")
    # A dashboard is a private cluster's to leave out; a cluster that exists has made its choice.
    dashboard = False if address == "local" else None
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=dashboard)
    try:
        yield
    finally:
        ray.shutdown()


def fit(
    view: View,
    recipe: Recipe,
    resources: Resources,
    *,
    name: str,
    storage: Path,
    on_epoch: Callable[[EpochReport], None],
) -> TabularNetwork:
    """Train and return the network of the best epoch, in eval mode on the CPU.

    ``on_epoch`` is called in this process as epochs end. A run of the same
    ``name`` in the same ``storage`` goes on where it stopped. Needs a running :func:`cluster`.

    Raises:
        TrainingFailed: the cluster is too small, or workers failed more than ``max_failures`` times.
    """
    _check_capacity(resources)
    board = _Board.remote()  # type: ignore[attr-defined]
    trainer = ray.train.torch.TorchTrainer(
        _loop,
        train_loop_config={"view": str(view.folder.resolve()), "recipe": recipe.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": resources.cpus_per_worker,
                **({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}),
            },
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=KEPT_CHECKPOINTS,
                checkpoint_score_attribute=SELECTION_METRIC,
                checkpoint_score_order="min",
            ),
            callbacks=[_Forward(board)],  # type: ignore[list-item] # a UserCallback is asked for, Callback is what is typed
        ),
    )
    try:
        result = _run(trainer, board, on_epoch)
    except ray.train.TrainingFailedError as error:
        raise TrainingFailed(f"training run {name} failed: {_first_reason(error)}") from error
    best = result.get_best_checkpoint(SELECTION_METRIC, "min")
    if best is None:
        raise TrainingFailed(f"training run {name} left no checkpoint in {storage}")
    network = TabularNetwork(view.contract, recipe.architecture)
    network.load_state_dict(_load(best)["network"])
    return network.eval()


def _check_capacity(resources: Resources) -> None:
    """Ray would wait for ever, in silence, for a worker that fits nowhere."""
    have = ray.cluster_resources()
    for kind, each in (("CPU", resources.cpus_per_worker), ("GPU", resources.gpus_per_worker)):
        asked = each * resources.workers
        if asked > have.get(kind, 0):
            raise TrainingFailed(
                f"{resources.workers} workers with {each:g} {kind} each need {asked:g} {kind}, "
                f"and the cluster has {have.get(kind, 0):g}: ask for fewer, or set RAY_ADDRESS to a larger cluster"
            )


def _first_reason(error: Exception) -> str:
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    cause = failures[min(failures)] if failures else getattr(error, "controller_failure", error)
    return one_line(f"{type(cause).__name__}: {cause}")[:300]


@ray.remote(num_cpus=0)
class _Board:
    """Where the controller pins reports and the driver reads them."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []

    def pin(self, report: EpochReport) -> None:
        self.reports.append(report)

    def since(self, seen: int) -> list[EpochReport]:
        return self.reports[seen:]


class _Forward(UserCallback):
    """Runs in Ray Train's controller: what rank 0 reported is forwarded to the board."""

    def __init__(self, board: Any) -> None:
        self.board = board

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,  # noqa: ARG002
    ) -> None:
        ray.get(self.board.pin.remote(EpochReport(**metrics[0])))


def _run(
    trainer: ray.train.torch.TorchTrainer, board: Any, on_epoch: Callable[[EpochReport], None]
) -> ray.train.Result:
    """Fit in a thread of its own, and tell ``on_epoch`` of each epoch from this one.

    Ray Train takes over Ctrl-C where it is called from the main thread, and then ends the process
    without a word.
    """
    outcome: Future[ray.train.Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:  # noqa: BLE001 - raised again by outcome.result()
            outcome.set_exception(error)

    threading.Thread(target=work, name="fit", daemon=True).start()
    seen = 0
    while True:
        over = wait([outcome], timeout=POLL_SECONDS).done
        for report in ray.get(board.since.remote(seen)):
            seen += 1
            on_epoch(report)
        if over:
            return outcome.result()


def _loop(config: dict[str, str]) -> None:
    """What each worker runs: train on its shard; rank 0 validates and keeps the checkpoints."""
    view = View.open(Path(config["view"]))
    recipe = Recipe.model_validate_json(config["recipe"])
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    vocabularies = Vocabularies.of(view.contract, recipe.architecture.min_category_rows)
    whole = view.examples("train", vocabularies)
    shard = _on(device, whole.shard(rank, world_size))
    batch = max(1, min(recipe.batch_size, len(whole)) // world_size)
    # Every rank takes the same number of steps, or the others would wait for ever for its gradients.
    steps = max(1, len(whole) // world_size // batch)

    torch.manual_seed(recipe.seed)
    module = TabularNetwork(view.contract, recipe.architecture)
    network = ray.train.torch.prepare_model(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps * recipe.epochs, pct_start=recipe.warm_up
    )
    checkpoint = ray.train.get_checkpoint()
    first = 0
    if checkpoint is not None:
        state = _load(checkpoint)
        module.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epochs_done"]
    validation = view.examples("validation", vocabularies) if rank == 0 else None

    for epoch in range(first, recipe.epochs):
        started = time.monotonic()
        loss = _train_epoch(network, optimizer, schedule, shard, batch, steps, seed=(recipe.seed, epoch, rank))
        report: dict[str, Any] = {}
        kept: Checkpoint | None = None
        with tempfile.TemporaryDirectory() as folder:
            if validation is not None:
                numeric, categories, _ = _on(device, validation)
                found = scores(validation.label, probabilities(module, numeric, categories).cpu().numpy())
                report = asdict(
                    EpochReport(
                        epoch=epoch + 1,
                        train_loss=loss,
                        validation_log_loss=found.log_loss,
                        validation_auc=found.auc,
                        seconds=time.monotonic() - started,
                        pid=os.getpid(),
                    )
                )
                torch.save(
                    {
                        "network": module.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "epochs_done": epoch + 1,
                    },
                    Path(folder) / CHECKPOINT_FILE,
                )
                kept = Checkpoint.from_directory(folder)
            ray.train.report(report, checkpoint=kept)


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    shard: tuple[Tensor, Tensor, Tensor],
    batch: int,
    steps: int,
    seed: tuple[int, int, int],
) -> float:
    """One pass over the shard; returns the mean loss over the steps of all ranks."""
    numeric, categories, label = shard
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(label))).to(label.device)
    torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    network.train()
    total = torch.zeros((), device=label.device)
    for step in range(steps):
        rows = order[step * batch : (step + 1) * batch]
        logits = network(numeric[rows], categories[rows])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, label[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.detach()
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total /= torch.distributed.get_world_size()
    return float(total) / steps


def _on(device: torch.device, examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """``numeric`` [N, F], ``categories`` [N, C] and ``label`` [N] on a device."""
    return (
        torch.from_numpy(np.ascontiguousarray(examples.numeric)).to(device),
        torch.from_numpy(np.ascontiguousarray(examples.categories)).to(device),
        torch.from_numpy(np.ascontiguousarray(examples.label)).to(device),
    )


def _load(checkpoint: Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
    return state
