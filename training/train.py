"""Ray Train: the loop that each worker runs, and the driver that watches it.

Each epoch seeds its own shuffling and dropout, so an epoch that is repeated after a worker was
lost is the same epoch: a resumed run ends with the weights of one that was never interrupted.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# First: it sets what Ray Train reads when it is imported.
from training.workers import run_loop  # isort: skip
import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig

from training.data import Examples, View, Vocabularies
from training.errors import TrainingFailed
from training.evaluate import scores
from training.network import TabularNetwork, probabilities
from training.recipe import Recipe, Resources

CHECKPOINT_FILE = "state.pt"
KEPT_CHECKPOINTS = 2
SELECTION_METRIC = "validation_log_loss"


@dataclass(frozen=True)
class EpochReport:
    """One epoch, as rank 0 saw it. ``epoch`` counts from 1; ``pid`` is rank 0's process."""

    epoch: int
    train_loss: float
    validation_log_loss: float
    validation_auc: float
    seconds: float
    pid: int


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
    ``name`` in the same ``storage`` goes on where it stopped. Needs a running :func:`training.workers.cluster`.

    Raises:
        TrainingFailed: the cluster is too small, or workers failed more than ``max_failures`` times.
    """
    result = run_loop(
        _loop,
        {"view": str(view.folder.resolve()), "recipe": recipe.model_dump_json()},
        resources,
        name=name,
        storage=storage,
        checkpoints=CheckpointConfig(
            num_to_keep=KEPT_CHECKPOINTS,
            checkpoint_score_attribute=SELECTION_METRIC,
            checkpoint_score_order="min",
        ),
        on_report=lambda report: on_epoch(EpochReport(**report)),
    )
    best = result.get_best_checkpoint(SELECTION_METRIC, "min")
    if best is None:
        raise TrainingFailed(f"training run {name} left no checkpoint in {storage}")
    network = TabularNetwork(view.contract, recipe.architecture)
    network.load_state_dict(_load(best)["network"])
    return network.eval()


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
                log_loss, auc = _validated(module, validation, device)
                report = asdict(
                    EpochReport(
                        epoch=epoch + 1,
                        train_loss=loss,
                        validation_log_loss=log_loss,
                        validation_auc=auc,
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


def _validated(module: TabularNetwork, validation: Examples, device: torch.device) -> tuple[float, float]:
    """Log-loss and AUC; not numbers where the network's answers are none, for the driver to end the run."""
    numeric, categories, _ = _on(device, validation)
    probability = probabilities(module, numeric, categories).cpu().numpy()
    if not np.isfinite(probability).all():
        return math.nan, math.nan
    found = scores(validation.label, probability)
    return found.log_loss, found.auc


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
