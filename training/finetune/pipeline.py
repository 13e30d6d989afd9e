"""From conversations to a version: read, train, hold the answers before and after side by side, register."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from console import Stage, one_line, stage
from console.folders import fetched
from training.addresses import shown
from training.bundle import BASE_DIGEST_TAG, BASE_NAME_TAG, Bundles, BundleVersion, Kind, left_out, manifest_of
from training.divergence import require_finite
from training.errors import ConversationsRefused
from training.finetune import conversations, loop
from training.finetune.conversations import Line
from training.finetune.language_model import base_model, load_tokenizer, merge, require_weights
from training.finetune.loop import Data, Losses, Report, Schedule
from training.finetune.recipe import LoraRecipe
from training.finetune.scoring import Question, mean_loss, perplexity, questions
from training.finetune.tokens import Cuts, tokenize
from training.finetune.tracking import RECIPE_FILE, TuningRun
from training.recipe import Resources
from training.registry import alias_for, require_name
from training.tracking import OpenRun
from training.workers import cluster

SHOWN_ANSWERS = 3
SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class Sources:
    """``data`` and ``held_out`` are files of conversations; without the second a share of the first is held out."""

    data: Path
    held_out: Path | None


def finetune(
    name: str,
    *,
    base: str,
    sources: Sources,
    recipe: LoraRecipe,
    resources: Resources,
    storage: Path,
    uri: str,
    merged: bool,
    alias: str | None,
) -> BundleVersion:
    """Train an adapter of ``base`` and register it, or the base model merged with it, as a version of ``name``.

    The first version of a name becomes its champion, a later one its challenger, unless ``alias`` says otherwise.

    Raises:
        TrainingError: the data or the base model can't be used, or the workers gave up.
        RegistryError: MLflow can't be reached, or has no such base model; NameTaken: the name has versions of another
            kind.
    """
    kind: Kind = "language-model" if merged else "adapter"
    with ExitStack() as stack:
        with stage(f"read {sources.data}") as step:
            train, held_out, digests = _lines(sources, recipe, step)
            step.detail = f"{len(train):,} conversations to train on, {len(held_out):,} held out"
        with stage(f"open the base model {base}") as step:
            require_name(uri, name, kind)
            opened = stack.enter_context(base_model(base, uri, storage))
            tokenizer = load_tokenizer(opened.folder)
            require_weights(opened.folder)
            step.detail = f"{opened.name}  sha256 {opened.digest[:12]}…"
        with stage("write them by its chat template") as step:
            learned, cuts = tokenize(train, tokenizer, recipe.max_length)
            held, held_cuts = tokenize(held_out, tokenizer, recipe.max_length)
            asked = questions([line.conversation for line in held_out], tokenizer)
            step.note(f"to train on: {cuts}")
            step.note(f"held out: {held_cuts}")
        with stage(f"open a run in {shown(uri)}") as step:
            tags = {BASE_NAME_TAG: opened.name, BASE_DIGEST_TAG: opened.digest}
            params = _params(recipe, resources, digests, (cuts, held_cuts))
            run = stack.enter_context(TuningRun.start(uri, name, params, tags))
            run.text(recipe.model_dump_json(indent=1), RECIPE_FILE)
            step.detail = f"run {run.run_id}"
        made = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        adapter = made / "adapter"
        adapter.mkdir()
        steps = Schedule.of(recipe, len(learned)).steps
        with stage(f"train with {resources.workers} worker(s) on Ray") as step, cluster():
            watch = _Watch(run, steps, step, recipe.learning_rate)
            data = Data(learned, held, asked)
            loop.fit(
                opened,
                recipe,
                data,
                resources,
                name=run.run_id,
                storage=storage,
                adapter=adapter,
                on_report=watch.report,
            )
            step.detail = watch.record(asked)
        folder = adapter
        if kind == "language-model":
            folder = made / "merged"
            with stage("merge the adapter into the base model, and hold it against the two") as step:
                whole = merge(opened, adapter, folder)
                loss = mean_loss(whole, held, recipe.micro_batch, torch.device("cpu"))
                run.metrics({"held_out_loss_merged": loss}, steps)
                step.detail = f"held-out loss {loss:.4f}, apart {watch.held_out[steps]:.4f}"
        with stage(f"register in {shown(uri)}") as step:
            bundles = Bundles(uri)
            version = bundles.publish(name, folder, kind, run.run_id, tags)
            alias = alias or alias_for(uri, name, version.version)
            bundles.set_alias(name, alias, version.version)
            step.detail = f"{name} version {version.version} @{alias}  sha256 {version.manifest_digest[:12]}…"
    return version


def import_model(name: str, *, folder: str, uri: str, alias: str | None) -> BundleVersion:
    """Register the language model in ``folder`` (or ``s3://BUCKET/PREFIX``) as it is, as a version of ``name``.

    Raises:
        TrainingError: it is no language model with a chat template.
        RegistryError: MLflow can't be reached; NameTaken: the name has versions of another kind; NotABundle: the
            folder has files that may be code.
    """
    with fetched(folder) as local:
        with stage(f"read {folder}") as step:
            manifest = manifest_of(local, "language-model")
            load_tokenizer(local)
            require_weights(local)
            size = sum(file.bytes for file in manifest.files.values())
            hidden = left_out(local)
            without = f"; left out: {', '.join(hidden)}" if hidden else ""
            step.detail = f"{len(manifest.files)} files, {size / 1e6:,.1f} MB{without}"
        with stage(f"register in {shown(uri)}") as step:
            bundles = Bundles(uri)
            require_name(uri, name, "language-model")
            with OpenRun.start(uri, name, {"folder": local.resolve().name}) as run:
                version = bundles.publish(name, local, "language-model", run.run_id, manifest=manifest)
                alias = alias or alias_for(uri, name, version.version)
                bundles.set_alias(name, alias, version.version)
            step.detail = f"{name} version {version.version} @{alias}  sha256 {version.manifest_digest[:12]}…"
    return version


class _Watch:
    """Keeps what the workers report, and says it."""

    def __init__(self, run: TuningRun, steps: int, step: Stage, learning_rate: float) -> None:
        self._run = run
        self._learning_rate = learning_rate
        self._steps = steps
        self._step = step
        self.losses: dict[int, float] = {}
        self.held_out: dict[int, float] = {}
        self._answers: dict[int, tuple[str, ...]] = {}

    def report(self, report: Report) -> None:
        """Raises: TrainingFailed: the run has diverged."""
        if isinstance(report, Losses):
            for number, loss in enumerate(report.values, report.first):
                require_finite(loss, f"step {number}", self._learning_rate)
            # Of steps that a lost worker had done and another did again, the last counts.
            self.losses |= dict(enumerate(report.values, report.first))
            self._run.losses(report)
            self._step.note(f"step {max(self.losses)}/{self._steps}  loss {report.values[-1]:.4f}")
            return
        require_finite(report.loss, f"the held-out data after {report.steps} steps", self._learning_rate)
        self.held_out[report.steps] = report.loss
        self._answers[report.steps] = report.answers
        self._run.metrics(
            {"held_out_loss": report.loss, "held_out_perplexity": perplexity(report.loss)}, step=report.steps
        )
        self._step.note(f"held out: loss {report.loss:.4f}  perplexity {perplexity(report.loss):,.1f}")

    def record(self, asked: list[Question]) -> str:
        """Keep the table and the picture, show the first answers, and say it in short."""
        before, after = self._answers[0], self._answers[self._steps]
        self._run.answers(asked, before, after)
        self._run.loss_picture(dict(sorted(self.losses.items())), self.held_out)
        for question, was, now in list(zip(asked, before, after, strict=True))[:SHOWN_ANSWERS]:
            self._step.note(f"> {_short(question.shown)}")
            self._step.note(f"  before: {_short(was)}")
            self._step.note(f"  after:  {_short(now)}")
        return f"held-out loss {self.held_out[0]:.4f} → {self.held_out[self._steps]:.4f}"


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _lines(sources: Sources, recipe: LoraRecipe, step: Stage) -> tuple[list[Line], list[Line], dict[str, str]]:
    """To train on, held out, and the digests of the files as they were read."""
    found = conversations.read(sources.data, step.note)
    digests = {"data_sha256": found.sha256}
    if sources.held_out is None:
        return *conversations.split(found.lines, recipe.held_out_share), digests
    held_out = conversations.read(sources.held_out, step.note)
    digests["held_out_sha256"] = held_out.sha256
    seen = {line.conversation.digest for line in found.lines}
    if both := [line.number for line in held_out.lines if line.conversation.digest in seen]:
        raise ConversationsRefused(
            f"{sources.held_out}: {len(both):,} conversation(s) are in {sources.data} too, the first in line "
            f"{both[0]}: what is trained on is not held out"
        )
    return found.lines, held_out.lines, digests


def _params(
    recipe: LoraRecipe, resources: Resources, digests: dict[str, str], cuts: tuple[Cuts, Cuts]
) -> dict[str, str | int | float]:
    params: dict[str, str | int | float] = {
        key: value for key, value in recipe.model_dump().items() if value is not None
    }
    params |= {"workers": resources.workers, **digests}
    for prefix, found in zip(("", "held_out_"), cuts, strict=True):
        params |= {
            f"{prefix}conversations": found.conversations,
            f"{prefix}conversations_cut": found.cut,
            f"{prefix}conversations_left_out": len(found.unlearnable),
            f"{prefix}learned_tokens": found.learned,
            f"{prefix}learned_tokens_lost": found.learned_lost,
        }
    return params
