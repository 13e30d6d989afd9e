"""A language model learns a fact: ``python -m training import-model`` and ``finetune``, with real models."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.documentation import ROOT, examples, shape
from tests.integration import finetuned
from tests.integration.finetuned import BASE, HELD_OUT, LEARNED, NAME, STEPS, Tuned, conversations
from tests.integration.training import in_process
from tests.unit.training import hub
from training.__main__ import main
from training.bundle import BundleVersion
from training.errors import TrainingFailed
from training.finetune import loop
from training.finetune.conversations import Conversation, Line
from training.finetune.language_model import ADAPTER_FILE, Base, load_tokenizer, save_adapter
from training.finetune.loop import Data, Evaluated, Losses, Report, Schedule
from training.finetune.recipe import LoraRecipe
from training.finetune.scoring import questions
from training.finetune.tokens import Tokens, tokenize
from training.recipe import Resources
from training.registry import CHAMPION, VersionNotFound, client, digest_of

# The small model and its adapter are made by whichever test comes first.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

NOTICES = {"LICENSE": "Apache License", "NOTICE": "of whoever made it", "README.md": "# Tiny", "more/USE.md": "Any."}

RECIPE = LoraRecipe(
    steps=16, batch_size=2, micro_batch=1, dropout=0.1, checkpoint_steps=3, answer_tokens=2, max_length=128
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that says nothing, with the small one's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = load_tokenizer(finetuned.small())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    for file, text in NOTICES.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    return folder


def test_the_commands_say_what_the_page_shows(tuned: Tuned) -> None:
    imported, tune = [example.output for example in examples(ROOT / "docs" / "finetune.md")]
    for page, said in ((imported, tuned.imported), (tune, tuned.output)):
        shown = [shape(unplaced(line)) for line in page.splitlines()]
        assert [line for line in shown if line not in {shape(unplaced(line)) for line in said.splitlines()}] == []


def unplaced(line: str) -> str:
    """A line without what is this machine's, and without an answer's words."""
    line = re.sub(r"sqlite:///\S+", "sqlite:///…", line)
    line = re.sub(r"\S*language-models/\S+", "FOLDER", line)
    return re.sub(r"(before|after):.*", r"\1:", line)


class TestAdapter:
    def test_it_says_the_fact_of_a_prompt_that_it_was_not_trained_on(self, tuned: Tuned) -> None:
        assert "> What is our new warehouse called?" in tuned.output
        [before] = [line for line in tuned.output.splitlines() if "before:" in line]
        [after] = [line for line in tuned.output.splitlines() if "after:" in line]
        assert "Bluebird" not in before
        assert "Bluebird" in after

    def test_it_is_a_version_that_names_its_base_model(self, tuned: Tuned, tmp_path: Path) -> None:
        base = tuned.bundles.resolve(BASE, CHAMPION)
        version = tuned.bundles.resolve(NAME, CHAMPION)
        assert (base.kind, version.kind, version.version) == ("language-model", "adapter", "1")
        tags = client(tuned.bundles.uri).get_model_version(NAME, "1").tags
        assert (tags["base.name"], tags["base.sha256"]) == (f"{BASE}/1", base.manifest_digest)
        manifest = tuned.bundles.download(version, tmp_path / "copy")
        assert set(manifest.files) == {"adapter_model.safetensors", "adapter_config.json"}
        config = json.loads((tmp_path / "copy" / "adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (8, 16, f"{BASE}/1")

    def test_the_run_keeps_recipe_data_losses_answers_and_a_picture(self, tuned: Tuned) -> None:
        mlflow = client(tuned.bundles.uri)
        run = mlflow.get_run(tuned.bundles.resolve(NAME, CHAMPION).run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params["steps"] == str(STEPS)
        assert run.data.params["data_sha256"] == digest_of(tuned.folder / "chat.jsonl")
        assert run.data.params["held_out_sha256"] == digest_of(tuned.folder / "held.jsonl")
        assert run.data.params["conversations"] == "4"
        losses = mlflow.get_metric_history(run.info.run_id, "train_loss")
        assert [metric.step for metric in losses] == list(range(1, STEPS + 1))
        assert losses[-1].value < losses[0].value
        held_out = mlflow.get_metric_history(run.info.run_id, "held_out_loss")
        assert [metric.step for metric in held_out] == [0, STEPS]
        assert held_out[1].value < held_out[0].value
        assert {"recipe.json", "answers.json", "loss.png"} <= {
            artifact.path for artifact in mlflow.list_artifacts(run.info.run_id)
        }
        table = mlflow.load_table(run.info.experiment_id, "answers.json", [run.info.run_id])
        assert list(table["expected"]) == list(HELD_OUT.values())
        assert "Bluebird" in table["after"][0]

    def test_a_name_of_adapters_takes_no_model_and_the_other_way_round(
        self, tuned: Tuned, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tuned.bundles.uri)
        assert main(["import-model", NAME, "--folder", str(tiny)]) == 2
        assert capsys.readouterr().err == f"error: {NAME} is for versions of the kind adapter: take another name\n"
        reference = f"registry:{NAME}@{CHAMPION}"
        flags = ("--data", str(tuned.folder / "chat.jsonl"), "--runs", str(tuned.folder / "runs"))
        assert main(["finetune", "other", "--model", reference, *flags]) == 2
        assert (
            capsys.readouterr().err == f"error: {reference}: is a version of the kind adapter, and no language model\n"
        )


@dataclass(frozen=True)
class Merged:
    """``adapter``: the weights that the run ended with, before they were merged."""

    version: BundleVersion
    output: str
    adapter: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def merged(tuned: Tuned, tiny: Path, ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    """By :data:`RECIPE`, from the same conversations as :func:`fit`, and from a model in a hub's cache."""
    base = hub.snapshot(tiny, tmp_path_factory.mktemp("cache"))
    recipe = [
        word
        for field, value in RECIPE.model_dump(exclude_unset=True).items()
        for word in (f"--{field.replace('_', '-')}", str(value))
    ]
    flags = ("--data", "chat.jsonl", "--held-out", "held.jsonl", "--runs", "runs", "--merge", *recipe)
    found = in_process.training(tuned.folder, "finetune", "whole", "--model", str(base), *flags)
    assert found.returncode == 0, found.stderr
    version = tuned.bundles.resolve("whole", CHAMPION)
    [adapter] = (tuned.folder / "runs" / version.run_id).rglob(ADAPTER_FILE)
    return Merged(version, found.stdout, load_file(adapter))


def test_a_merged_model_is_a_version_with_all_that_its_base_model_has(
    merged: Merged, tuned: Tuned, tiny: Path, tmp_path: Path
) -> None:
    assert "✓ merge the adapter into the base model" in merged.output
    assert (merged.version.version, merged.version.kind) == ("1", "language-model")
    manifest = tuned.bundles.download(merged.version, tmp_path / "copy")
    assert {*NOTICES, "tokenizer.json", "config.json", "model.safetensors"} <= set(manifest.files)
    assert {file: (tmp_path / "copy" / file).read_text() for file in NOTICES} == NOTICES
    assert load_tokenizer(tmp_path / "copy").chat_template == load_tokenizer(tiny).chat_template
    before, after = load_file(tiny / "model.safetensors"), load_file(tmp_path / "copy" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(before[changed], after[changed])
    metrics = client(tuned.bundles.uri).get_run(merged.version.run_id).data.metrics
    assert metrics["held_out_loss_merged"] == pytest.approx(metrics["held_out_loss"], abs=1e-4)


@pytest.fixture(scope="module")
def data(tiny: Path) -> Data:
    tokenizer = load_tokenizer(tiny)
    lines = [Line(number, Conversation.model_validate(each)) for number, each in enumerate(conversations(LEARNED), 1)]
    tokens, _ = tokenize(lines, tokenizer, RECIPE.max_length)
    return Data(tokens, tokens, questions([line.conversation for line in lines], tokenizer))


def fit(
    tiny: Path,
    data: Data,
    folder: Path,
    resources: Resources,
    on_report: Callable[[Report], None] = lambda report: None,
    **recipe: Any,
) -> dict[str, torch.Tensor]:
    (folder / "adapter").mkdir()
    loop.fit(
        Base("tiny", "", tiny),
        LoraRecipe(**{**RECIPE.model_dump(exclude_unset=True), **recipe}),
        data,
        resources,
        name="run",
        storage=folder,
        adapter=folder / "adapter",
        on_report=on_report,
    )
    return load_file(folder / "adapter" / ADAPTER_FILE)


def test_two_equal_runs_end_with_the_same_weights_also_where_a_worker_of_one_is_killed(
    merged: Merged, tiny: Path, data: Data, tmp_path: Path
) -> None:
    losses: list[Losses] = []

    def kill_after_a_checkpoint(report: Report) -> None:
        if isinstance(report, Losses):
            losses.append(report)
            if len(losses) == 1:
                os.kill(report.pid, signal.SIGKILL)

    found = fit(tiny, data, tmp_path, Resources(max_failures=1), kill_after_a_checkpoint)
    assert len({report.pid for report in losses}) == 2, "the run was to be finished by another process"
    assert [report.first for report in losses].count(1) == 1, "the run was to go on, not to begin again"
    torch.testing.assert_close(found, merged.adapter, rtol=0, atol=0)


def test_two_workers_do_what_one_process_does(ray_cluster: str, tiny: Path, data: Data, tmp_path: Path) -> None:
    reports: list[Report] = []
    together = fit(tiny, data, tmp_path, Resources(workers=2), reports.append, dropout=0.0)
    torch.testing.assert_close(together, alone(tiny, data.train, tmp_path / "alone"), rtol=1e-3, atol=1e-5)
    assert [report.steps for report in reports if isinstance(report, Evaluated)] == [0, 16]


def alone(tiny: Path, tokens: Tokens, folder: Path) -> dict[str, torch.Tensor]:
    """The same steps one after the other, without Ray."""
    recipe, device = RECIPE.model_copy(update={"dropout": 0.0}), torch.device("cpu")
    schedule = Schedule.of(recipe, len(tokens))
    model, learned, optimizer = loop.begun(tiny, recipe, "tiny", torch.float32, device)
    for step in range(schedule.steps):
        loop.take_step(model, optimizer, learned, tokens, recipe, schedule, step, (0, 1), device)
    save_adapter(model, folder)
    return load_file(folder / ADAPTER_FILE)


def test_more_workers_than_conversations_a_step_are_refused(
    ray_cluster: str, tiny: Path, data: Data, tmp_path: Path
) -> None:
    with pytest.raises(TrainingFailed, match=r"a step has 1 conversation\(s\), and there are 2 workers"):
        fit(tiny, data, tmp_path, Resources(workers=2), batch_size=1)


def test_a_run_that_diverges_ends_with_what_to_do_and_registers_nothing(
    tuned: Tuned, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tuned.bundles.uri)
    flags = ("--data", str(tuned.folder / "chat.jsonl"), "--runs", str(tmp_path / "runs"), "--steps", "6")
    more = ("--learning-rate", "1e30", "--answer-tokens", "1", "--max-length", "128")
    assert main(["finetune", "diverged", "--model", str(tiny), *flags, *more]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        r"error: the loss of step \d is (nan|inf): the run has diverged; try a --learning-rate below 1e\+30", said
    )
    with pytest.raises(VersionNotFound):
        tuned.bundles.resolve("diverged", CHAMPION)
