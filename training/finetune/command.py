"""``python -m training finetune`` and ``import-model``."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from console import UserError
from spark_jobs.contract import first_problem
from training.finetune.recipe import LoraRecipe
from training.recipe import Resources
from training.registry import CHALLENGER, CHAMPION, tracking_uri

ALIAS = re.compile(r"(?!latest\Z|v[0-9]+\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.IGNORECASE)
"""MLflow keeps the two that are excepted for itself."""

FIELDS = {
    "rank": "of the adapter",
    "alpha": "the adapter's product is scaled by alpha / rank",
    "dropout": "of the adapters' inputs",
    "epochs": "how often each conversation is seen",
    "steps": "in place of --epochs",
    "batch_size": "conversations a step, of all workers together",
    "micro_batch": "conversations that one worker holds at once",
    "learning_rate": "the highest",
    "weight_decay": "",
    "warm_up": "the share of the steps before the highest learning rate",
    "max_length": "tokens of a conversation; what is longer is cut, and counted",
    "held_out_share": "of the data that is held out where --held-out isn't given",
    "answer_tokens": "of an answer to a held-out prompt, at most",
    "checkpoint_steps": "steps from one checkpoint to the next",
    "seed": "",
}


def add_parsers(commands: argparse._SubParsersAction[Any]) -> None:
    """Add both to the commands of ``python -m training``."""
    text = "train a LoRA adapter of a language model on conversations, and register it"
    tune = commands.add_parser("finetune", help=text, description=text)
    tune.set_defaults(command=_finetune)
    tune.add_argument(
        "--model", required=True, dest="base", metavar="FOLDER|registry:NAME@ALIAS", help="what is fine-tuned"
    )
    tune.add_argument("--data", required=True, type=Path, metavar="FILE", help="conversations, one in JSON a line")
    tune.add_argument("--held-out", type=Path, metavar="FILE", help="others to evaluate on")
    tune.add_argument("--merge", action="store_true", help="register the model with the adapter in its weights")
    for field, meaning in FIELDS.items():
        default = LoraRecipe.model_fields[field].default
        shown = f"{meaning} (default {default})" if default is not None else meaning
        kind = float if isinstance(default, float) or field == "alpha" else int
        tune.add_argument(f"--{field.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, help=shown.strip())
    tune.add_argument("--workers", type=int, default=1, help="Ray Train workers (default 1)")
    tune.add_argument("--cpus-per-worker", type=float, default=1, metavar="N")
    tune.add_argument("--gpus-per-worker", type=float, default=0, metavar="N")
    tune.add_argument("--max-failures", type=int, default=2, help="how often a lost worker is replaced (default 2)")
    tune.add_argument("--runs", type=Path, default=Path("build/runs"), help="folder of checkpoints")

    text = "register a language model as it is"
    imported = commands.add_parser("import-model", help=text, description=text)
    imported.set_defaults(command=_import)
    imported.add_argument("--folder", required=True, help="in Hugging Face's format; may be s3://BUCKET/PREFIX")

    for command in (tune, imported):
        command.add_argument("model", metavar="name", help="the registered model's name, such as assistant")
        command.add_argument("--alias", help=f"alias to set (default: {CHAMPION} for the first, then {CHALLENGER})")


def _finetune(arguments: Namespace) -> None:
    given = {field: value for field, value in vars(arguments).items() if field in FIELDS}
    try:
        recipe = LoraRecipe(**given)
    except ValidationError as error:
        raise UserError(f"not a recipe: {first_problem(error)}") from error
    try:
        resources = Resources(
            workers=arguments.workers,
            cpus_per_worker=arguments.cpus_per_worker,
            gpus_per_worker=arguments.gpus_per_worker,
            max_failures=arguments.max_failures,
        )
    except ValidationError as error:
        raise UserError(f"can't train with that: {first_problem(error)}") from error
    check_alias(arguments.alias)
    _require_packages()
    from training.finetune.pipeline import Sources, finetune

    finetune(
        arguments.model,
        base=arguments.base,
        sources=Sources(arguments.data, arguments.held_out),
        recipe=recipe,
        resources=resources,
        storage=arguments.runs,
        uri=tracking_uri(),
        merged=arguments.merge,
        alias=arguments.alias,
    )


def _import(arguments: Namespace) -> None:
    check_alias(arguments.alias)
    _require_packages()
    from training.finetune.pipeline import import_model

    import_model(arguments.model, folder=arguments.folder, uri=tracking_uri(), alias=arguments.alias)


def check_alias(alias: str | None) -> None:
    """Raises: UserError: no registry would take it."""
    if alias is not None and not ALIAS.fullmatch(alias):
        raise UserError(f"--alias {alias[:63]!r}: expected letters, digits, '.', '_' and '-', and not latest or v1")


def _require_packages() -> None:
    import importlib.util

    if missing := [each for each in ("transformers", "peft") if importlib.util.find_spec(each) is None]:
        raise UserError(f"{', '.join(missing)} is not installed: install ml-training-deployment[training,llm]")
