"""``python -m benchmarks ingress|lightgbm``."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from console import Arguments, run


def main(arguments: list[str] | None = None) -> int:
    return run(lambda: _dispatch(_parser().parse_args(arguments)))


def _parser() -> Arguments:
    parser = Arguments(prog="python -m benchmarks", description="Side-by-side measurements.")
    commands = parser.add_subparsers(required=True)
    ingress = commands.add_parser("ingress", help="the ingress beside bare FastAPI + ONNX Runtime (needs wrk)")
    ingress.set_defaults(command=_ingress)
    ingress.add_argument("--model", default="flight-delay", help="a model of serve.yaml that is in the registry")
    lightgbm = commands.add_parser("lightgbm", help="gradient-boosted trees on the columns of a view")
    lightgbm.set_defaults(command=_lightgbm)
    lightgbm.add_argument("--view", type=Path, required=True, help="a folder made by `python -m spark_jobs`")
    return parser


def _dispatch(arguments: Namespace) -> int:
    arguments.command(arguments)
    return 0


def _ingress(arguments: Namespace) -> None:
    from benchmarks.ingress import run as measure

    measure(arguments.model)


def _lightgbm(arguments: Namespace) -> None:
    from benchmarks.lightgbm_baseline import run as train

    train(arguments.view)


if __name__ == "__main__":
    sys.exit(main())
