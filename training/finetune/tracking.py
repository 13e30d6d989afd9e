"""A fine-tuning run as MLflow keeps it: recipe, data, losses, and the answers before and after, side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.finetune.loop import Losses
from training.finetune.scoring import Question
from training.registry import client, mapped_errors
from training.tracking import experiment_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE_FILE = "recipe.json"
ANSWERS_FILE = "answers.json"
LOSS_PICTURE = "loss.png"


@dataclass(frozen=True)
class OpenRun:
    """An MLflow run in the experiment that has the model's name."""

    uri: str
    run_id: str

    @classmethod
    def start(cls, uri: str, model: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> OpenRun:
        """Raises: RegistryUnreachable: nothing answers at ``uri``."""
        experiment = experiment_of(uri, model)
        with mapped_errors(uri, f"experiment {model}"):
            mlflow = client(uri)
            run = cls(uri, mlflow.create_run(experiment, tags=dict(tags)).info.run_id)
            for name, value in params.items():
                mlflow.log_param(run.run_id, name, value)
        return run

    def text(self, content: str, file: str) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_text(self.run_id, content, file)

    def losses(self, report: Losses) -> None:
        self._log([("train_loss", value, step) for step, value in enumerate(report.values, report.first)])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self._log([(name, value, step) for name, value in values.items()])

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

    def end(self, *, failed: bool = False) -> None:
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def _log(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with mapped_errors(self.uri, f"run {self.run_id}"):
            client(self.uri).log_batch(self.run_id, [Metric(name, value, now, step) for name, value, step in values])


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
