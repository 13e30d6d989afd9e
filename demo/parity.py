"""The same rows through torch, ONNX Runtime and HTTP."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch

from console import say
from demo.ask import Ingress, graph_answers
from demo.processes import DemoError
from training.data import View, Vocabularies
from training.export import TOLERANCE
from training.network import probabilities
from training.registry import CHAMPION, Registry
from training.tracking import TrackedRun

ROWS = 1000


def parity(url: str, model: str, view_folder: Path, registry: Registry, cache: Path) -> float:
    """Answer the first :data:`ROWS` rows of the test split three ways; return the largest difference.

    Raises:
        DemoError: it is over the exporter's tolerance.
    """
    view = View.open(view_folder)
    rows = view.rows("test").slice(0, ROWS)
    champion = registry.resolve(model, CHAMPION)
    run = TrackedRun.find(registry.uri, model, champion.run_id)
    vocabularies = Vocabularies.of(view.contract, run.recipe().architecture.min_category_rows)
    examples = view.examples("test", vocabularies)
    answers = {
        "torch": probabilities(
            run.network(), torch.from_numpy(examples.numeric[:ROWS]), torch.from_numpy(examples.categories[:ROWS])
        ).numpy(),
        "ONNX Runtime": graph_answers(view, rows, registry, champion, cache),
        "HTTP": Ingress(url, model, view).infer(rows).probability,
    }
    largest = 0.0
    for (one, left), (other, right) in itertools.combinations(answers.items(), 2):
        difference = float(np.abs(left - right).max())
        say(f"{one:>12} – {other:<12} largest difference {difference:.1e} on {len(left):,} rows")
        largest = max(largest, difference)
    if not largest <= TOLERANCE:
        raise DemoError(f"answers differ by {largest:.1e}, over the tolerance of {TOLERANCE:.0e}")
    return largest
