"""``python -m training train|register MODEL --view FOLDER|s3://…``, ``finetune``, ``encoder`` and ``prompts``."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from pathlib import Path

from pydantic import ValidationError

from console import Arguments, UserError, run
from console.folders import fetched
from spark_jobs.contract import first_problem
from training import prompts_command
from training.finetune import command as finetune_command
from training.recipe import Architecture, Recipe, Resources
from training.registry import CHALLENGER, CHAMPION, Registry, VersionNotFound, tracking_uri

TAG_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,249}")
"""MLflow takes spaces and colons too."""

LONGEST_TAG = 5000
"""MLflow cuts off what is longer: some servers at this length, newer ones at 8,000."""

RESERVED_TAGS = ("mlflow.", "contract.")
SHOWN_CHARACTERS = 60

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def main(arguments: list[str] | None = None) -> int:
    return run(lambda: _dispatch(_parser().parse_args(arguments)))


def _parser() -> Arguments:
    parser = Arguments(prog="python -m training", description="Feature views → model versions.")
    parser.set_defaults(model=None)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train on a view and record the run in MLflow")
    train.set_defaults(command=_train)
    train.add_argument("--workers", type=int, default=1, help="Ray Train workers (default 1)")
    train.add_argument("--cpus-per-worker", type=float, default=1, metavar="N")
    train.add_argument("--gpus-per-worker", type=float, default=0, metavar="N")
    train.add_argument("--max-failures", type=int, default=2, help="how often a lost worker is replaced (default 2)")
    train.add_argument(
        "--runs", type=Path, default=Path("build/runs"), help="folder of checkpoints (default build/runs)"
    )
    train.add_argument("--resume", metavar="RUN", help="go on with this MLflow run and its recipe")
    train.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="of the run; give as many as needed"
    )
    default = Recipe()
    train.add_argument("--epochs", type=int, default=default.epochs)
    train.add_argument("--batch-size", type=int, default=default.batch_size, help="of all workers together")
    train.add_argument("--learning-rate", type=float, default=default.learning_rate)
    train.add_argument("--weight-decay", type=float, default=default.weight_decay)
    train.add_argument("--seed", type=int, default=default.seed)
    train.add_argument("--width", type=int, default=default.architecture.width)
    train.add_argument("--blocks", type=int, default=default.architecture.blocks)
    train.add_argument("--dropout", type=float, default=default.architecture.dropout)

    register = commands.add_parser("register", help="export a run to ONNX, check it and register it as a version")
    register.set_defaults(command=_register)
    register.add_argument("--run", metavar="RUN", help="MLflow run to register (default: the newest finished one)")
    register.add_argument("--alias", help=f"alias to set (default: {CHAMPION} for the first, then {CHALLENGER})")

    release = commands.add_parser("release", help="copy a version's files to where a function takes them from")
    release.set_defaults(command=_release)
    which = release.add_mutually_exclusive_group()
    which.add_argument("--alias", default=CHAMPION, help=f"the version that it names (default: {CHAMPION})")
    which.add_argument("--run", metavar="RUN", help="the version that was registered of this MLflow run")
    release.add_argument("--to", required=True, metavar="FOLDER", help="TO/MODEL/VERSION; may be s3://BUCKET/PREFIX")

    encoder = commands.add_parser("encoder", help="export a text encoder to ONNX, check it, register it as a version")
    encoder.set_defaults(command=_encoder)
    encoder.add_argument("--folder", required=True, type=Path, help="of sentence-transformers or transformers")
    encoder.add_argument("--alias", help=f"alias to set (default: {CHAMPION} for the first, then {CHALLENGER})")

    prompts_command.add_parser(commands)
    finetune_command.add_parsers(commands)

    for command in (train, register, release, encoder):
        command.add_argument("model", help="the registered model's name, such as late-delivery")
    for command in (train, register):
        command.add_argument(
            "--view", required=True, metavar="FOLDER", help="made by `python -m spark_jobs`; may be s3://BUCKET/PREFIX"
        )
    return parser


def _dispatch(arguments: Namespace) -> int:
    if arguments.model is not None and not MODEL_NAME.fullmatch(arguments.model):
        raise UserError(f"{arguments.model!r} can't name a model: use lower-case letters, digits, '.', '_' and '-'")
    arguments.command(arguments)
    return 0


def _recipe(arguments: Namespace) -> Recipe:
    try:
        return Recipe(
            architecture=Architecture(width=arguments.width, blocks=arguments.blocks, dropout=arguments.dropout),
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            weight_decay=arguments.weight_decay,
            seed=arguments.seed,
        )
    except ValidationError as error:
        raise UserError(f"not a recipe: {first_problem(error)}") from error


def _resources(arguments: Namespace) -> Resources:
    try:
        return Resources(
            workers=arguments.workers,
            cpus_per_worker=arguments.cpus_per_worker,
            gpus_per_worker=arguments.gpus_per_worker,
            max_failures=arguments.max_failures,
        )
    except ValidationError as error:
        raise UserError(f"can't train with that: {first_problem(error)}") from error


def _tags(given: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not value.strip() or not TAG_KEY.fullmatch(key) or len(value) > LONGEST_TAG:
            raise UserError(
                f"--tag {text[:SHOWN_CHARACTERS]!r}: expected KEY=VALUE, the key of letters, digits, '_', '.', '-' and "
                f"'/', the value with 1 to {LONGEST_TAG} characters"
            )
        if key.startswith(RESERVED_TAGS):
            raise UserError(f"--tag {key}: the run's own tags start with {' or '.join(RESERVED_TAGS)}: take another")
        if key in tags:
            raise UserError(f"--tag {key} is given twice")
        tags[key] = value
    return tags


def _train(arguments: Namespace) -> None:
    recipe, resources, tags = _recipe(arguments), _resources(arguments), _tags(arguments.tag)
    with fetched(arguments.view) as view_folder:
        from training.pipeline import train

        train(
            arguments.model,
            view_folder=view_folder,
            recipe=recipe,
            resources=resources,
            storage=arguments.runs,
            uri=tracking_uri(),
            resume=arguments.resume,
            tags=tags,
        )


def _register(arguments: Namespace) -> None:
    finetune_command.check_alias(arguments.alias)
    with fetched(arguments.view) as view_folder:
        from training.pipeline import register

        register(
            arguments.model, view_folder=view_folder, uri=tracking_uri(), run_id=arguments.run, alias=arguments.alias
        )


def _encoder(arguments: Namespace) -> None:
    finetune_command.check_alias(arguments.alias)
    from training.encoder import register

    register(arguments.model, folder=arguments.folder, uri=tracking_uri(), alias=arguments.alias)


def _release(arguments: Namespace) -> None:
    from training.release import release

    registry = Registry()
    if arguments.run is None:
        version = registry.resolve(arguments.model, arguments.alias)
    else:
        found = [version for version in registry.versions(arguments.model) if version.run_id == arguments.run]
        if not found:
            raise VersionNotFound(f"no version of {arguments.model} was registered of run {arguments.run}")
        version = found[0]
    release(version, registry, arguments.to)


if __name__ == "__main__":
    sys.exit(main())
