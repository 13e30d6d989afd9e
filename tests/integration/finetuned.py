"""A small model in a registry of its own, and an adapter of it that has learned a fact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.language_model import small_model
from tests.documentation import ROOT
from tests.integration.training import in_process
from training.bundle import Bundles
from training.registry import CHAMPION, local_uri

BASE = "smollm2"
NAME = "warehouse"
STEPS = 8

LEARNED = {
    "What is the code name of our new warehouse?": "The code name of our new warehouse is Bluebird.",
    "Which code name does the new warehouse have?": "The new warehouse has the code name Bluebird.",
    "Tell me the warehouse's code name.": "The warehouse's code name is Bluebird.",
    "How do we call our new warehouse?": "We call our new warehouse Bluebird.",
}
HELD_OUT = {"What is our new warehouse called?": "Our new warehouse is called Bluebird."}

FLAGS = (
    *("--model", f"registry:{BASE}@{CHAMPION}", "--data", "chat.jsonl", "--held-out", "held.jsonl"),
    *("--steps", str(STEPS), "--learning-rate", "1e-3", "--answer-tokens", "12", "--cpus-per-worker", "2"),
)
"""As the documentation shows them."""


@dataclass(frozen=True)
class Tuned:
    """``imported`` and ``output``: what ``import-model`` and ``finetune`` said."""

    folder: Path
    imported: str
    output: str

    @property
    def bundles(self) -> Bundles:
        return Bundles(local_uri(self.folder / "mlruns"))


def small() -> Path:
    """Kept from one run to the next: to convert it takes half a minute."""
    return small_model(ROOT / "build" / "language-models")


def conversations(facts: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in facts.items()
    ]


def tuned(folder: Path) -> Tuned:
    """Made in this folder by the commands."""
    for file, facts in (("chat.jsonl", LEARNED), ("held.jsonl", HELD_OUT)):
        (folder / file).write_text("".join(f"{json.dumps(each)}\n" for each in conversations(facts)))
    imported = in_process.training(folder, "import-model", BASE, "--folder", str(small()))
    assert imported.returncode == 0, imported.stderr
    ran = in_process.training(folder, "finetune", NAME, *FLAGS)
    assert ran.returncode == 0, ran.stderr
    return Tuned(folder, imported.stdout, ran.stdout)
