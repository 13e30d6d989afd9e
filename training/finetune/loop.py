"""The loop that each worker runs. Everything in a step follows from its number and the recipe's seed.

So a step that is repeated after a worker was lost is the same step, and two equal runs end with the same weights
where the machine computes alike.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# First: it sets what Ray Train reads when it is imported.
from training.workers import run_loop  # isort: skip
import ray
import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig
from safetensors.torch import load_file, save_file

from training.errors import TrainingFailed
from training.finetune.language_model import (
    Base,
    load_model,
    load_tokenizer,
    save_adapter,
    with_new_adapter,
)
from training.finetune.recipe import LoraRecipe
from training.finetune.scoring import Question, answers, loss_of, mean_loss
from training.finetune.tokens import Tokens
from training.recipe import Resources

STATE_FILE = "state.safetensors"
STEPS = "steps_done"
REPORT_STEPS = 5


@dataclass(frozen=True)
class Losses:
    """Of consecutive steps, in nats a learned token. ``first`` counts from 1; ``pid`` is rank 0's process."""

    first: int
    values: tuple[float, ...]
    pid: int


@dataclass(frozen=True)
class Evaluated:
    """On the held-out conversations, after so many steps: none, or all. ``loss`` in nats a learned token."""

    steps: int
    loss: float
    answers: tuple[str, ...]


Report = Losses | Evaluated


@dataclass(frozen=True)
class Data:
    """What workers are given; the arrays lie once in Ray's store on each node."""

    train: Tokens
    held_out: Tokens
    questions: Sequence[Question]


@dataclass(frozen=True)
class Schedule:
    """``batch`` conversations in each of ``steps`` steps, ``of_epoch`` of which see every one once, but for a rest."""

    steps: int
    of_epoch: int
    batch: int

    @classmethod
    def of(cls, recipe: LoraRecipe, conversations: int) -> Schedule:
        batch = min(recipe.batch_size, conversations)
        of_epoch = conversations // batch
        return cls(recipe.steps or recipe.epochs * of_epoch, of_epoch, batch)


def fit(
    base: Base,
    recipe: LoraRecipe,
    data: Data,
    resources: Resources,
    *,
    name: str,
    storage: Path,
    adapter: Path,
    on_report: Callable[[Report], None],
) -> None:
    """Train an adapter and put it into the folder ``adapter``. Needs a running :func:`training.workers.cluster`.

    Raises:
        TrainingFailed: the cluster is too small, or workers failed more than ``max_failures`` times.
    """
    batch = Schedule.of(recipe, len(data.train)).batch
    if batch < resources.workers:
        raise TrainingFailed(
            f"a step has {batch} conversation(s), and there are {resources.workers} workers: ask for fewer, "
            "or for more conversations a step by --batch-size"
        )
    result = run_loop(
        _loop,
        {
            "base": {"name": base.name, "digest": base.digest, "folder": str(base.folder)},
            "recipe": recipe.model_dump_json(exclude_unset=True),
            "data": [ray.put(data)],
        },
        resources,
        name=name,
        storage=storage,
        checkpoints=CheckpointConfig(num_to_keep=1),
        on_report=lambda report: on_report(_report(report)),
    )
    if result.checkpoint is None:
        raise TrainingFailed(f"training run {name} left no checkpoint in {storage}")
    with result.checkpoint.as_directory() as kept:
        for file in Path(kept).iterdir():
            if file.name != STATE_FILE:
                (adapter / file.name).write_bytes(file.read_bytes())


def _report(found: dict[str, Any]) -> Report:
    if "first" in found:
        return Losses(found["first"], tuple(found["values"]), found["pid"])
    return Evaluated(found["steps"], found["loss"], tuple(found["answers"]))


def _loop(config: Mapping[str, Any]) -> None:
    recipe = LoraRecipe.model_validate_json(config["recipe"])
    data: Data = ray.get(config["data"][0])
    folder = Path(config["base"]["folder"])
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    schedule = Schedule.of(recipe, len(data.train))

    # Narrow numbers are quick on GPUs, and slow or unequal on CPUs.
    dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    tokenizer = load_tokenizer(folder)
    model, learned, optimizer = begun(folder, recipe, config["base"]["name"], dtype, device)

    def evaluate(steps: int) -> None:
        """Rank 0's, and a barrier for the others."""
        found: dict[str, Any] = {}
        if rank == 0:
            loss = mean_loss(model, data.held_out, recipe.micro_batch, device)
            said = answers(model, tokenizer, data.questions, recipe.answer_tokens, recipe.micro_batch, device)
            found = {"steps": steps, "loss": loss, "answers": said}
        ray.train.report(found)

    done = 0
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        done = _restore(checkpoint, learned, optimizer)
    else:
        evaluate(0)
    losses: list[float] = []
    for step in range(done, schedule.steps):
        loss = take_step(model, optimizer, learned, data.train, recipe, schedule, step, (rank, world_size), device)
        losses.append(loss)
        last = step + 1 == schedule.steps
        kept = last or (step + 1) % recipe.checkpoint_steps == 0
        if kept or (step + 1) % REPORT_STEPS == 0:
            with tempfile.TemporaryDirectory() as scratch:
                saved = None
                if kept and rank == 0:
                    save_adapter(model, Path(scratch))
                    _save(step + 1, learned, optimizer, Path(scratch) / STATE_FILE)
                    saved = Checkpoint.from_directory(scratch)
                report = {"first": step + 2 - len(losses), "values": losses, "pid": os.getpid()}
                ray.train.report(report, checkpoint=saved)
            losses = []
    evaluate(schedule.steps)


def begun(
    folder: Path, recipe: LoraRecipe, base: str, dtype: torch.dtype, device: torch.device
) -> tuple[Any, dict[str, Tensor], torch.optim.Optimizer]:
    """The model with a new adapter, what is learned of it, and the optimizer, before the first step."""
    torch.manual_seed(recipe.seed)
    model = with_new_adapter(load_model(folder, dtype), recipe, base).to(device)
    learned: dict[str, Tensor] = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return model, learned, optimizer


def take_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    learned: Mapping[str, Tensor],
    tokens: Tokens,
    recipe: LoraRecipe,
    schedule: Schedule,
    step: int,
    place: tuple[int, int],
    device: torch.device,
) -> float:
    """One step of all ranks; the loss is the mean over the learned tokens of its whole batch."""
    rank, world_size = place
    epoch, within = divmod(step, schedule.of_epoch)
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(tokens))
    batch = order[within * schedule.batch : (within + 1) * schedule.batch].tolist()
    total = sum(int(tokens[index][1][1:].sum()) for index in batch)
    own = batch[rank::world_size]

    torch.manual_seed(int(np.random.SeedSequence((recipe.seed, step, rank)).generate_state(1)[0]))
    model.train()
    optimizer.zero_grad(set_to_none=True)
    summed = torch.zeros((), device=device)
    for first in range(0, len(own), recipe.micro_batch):
        loss, _ = loss_of(model, tokens, own[first : first + recipe.micro_batch], device)
        (loss / total).backward()
        summed += loss.detach() / total
    if world_size > 1:
        # An adapter's are few: one call for all of them.
        gradients = [value.grad for value in learned.values() if value.grad is not None]
        flat = torch.cat([*(gradient.flatten().float() for gradient in gradients), summed.reshape(1)])
        torch.distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat[:-1].split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
        summed = flat[-1]
    torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * rate(step, schedule.steps, recipe.warm_up)
    optimizer.step()
    return float(summed)


def rate(step: int, steps: int, warm_up: float) -> float:
    """The share of the highest learning rate at a step, which counts from 0."""
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _save(done: int, learned: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, file: Path) -> None:
    state = {f"weights.{name}": value.detach().contiguous() for name, value in learned.items()}
    for name, value in learned.items():
        for key, kept in optimizer.state[value].items():
            state[f"{key}.{name}"] = kept.detach().contiguous()
    save_file({**state, STEPS: torch.tensor(done)}, file)


def _restore(checkpoint: Checkpoint, learned: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Put back what :func:`_save` kept; the number of steps that were done."""
    with checkpoint.as_directory() as folder:
        state = load_file(Path(folder) / STATE_FILE)
    with torch.no_grad():
        for name, value in learned.items():
            value.copy_(state[f"weights.{name}"])
            optimizer.state[value] = {
                # AdamW counts its steps on the CPU.
                key: state[f"{key}.{name}"].to("cpu" if key == "step" else value.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
    return int(state[STEPS])
