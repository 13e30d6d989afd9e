"""A fine-tuning run as MLflow keeps it: recipe, data, losses, and the answers before and after, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from training.finetune.loop import Losses
from training.finetune.scoring import Question
from training.registry import client, mapped_errors
from training.tracking import OpenRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE_FILE = "recipe.json"
ANSWERS_FILE = "answers.json"
LOSS_PICTURE = "loss.png"


class TuningRun(OpenRun):
    """With what a fine-tuning run has beside its texts and metrics."""

    def losses(self, report: Losses) -> None:
        self._log([("train_loss", value, step) for step, value in enumerate(report.values, report.first)])

    def answers(self, asked: Sequence[Question], before: Sequence[str], after: Sequence[str]) -> None:
        """A table that MLflow's pages show; each answer is one token after the other, the likeliest."""
        table = {
            "prompt": [question.shown for question in asked],
            "expected": [question.expected for question in asked],
            "before": list(before),
            "after": list(after),
        }
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_table(self.run_id, table, ANSWERS_FILE)

    def loss_picture(self, losses: Mapping[int, float], held_out: Mapping[int, float]) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_figure(self.run_id, _picture(losses, held_out), LOSS_PICTURE)


def _picture(losses: Mapping[int, float], held_out: Mapping[int, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(title="Loss of the assistant's tokens", xlabel="step", ylabel="nats a token")
    axes.plot(list(losses), list(losses.values()), label="training, the step's batch")
    axes.plot(list(held_out), list(held_out.values()), "o--", label="held out")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
