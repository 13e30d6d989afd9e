"""``python -m benchmarks ingress|llm|lightgbm``."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from benchmarks.cases import CASES
from console import Arguments, run


def main(arguments: list[str] | None = None) -> int:
    return run(lambda: _dispatch(_parser().parse_args(arguments)))


def _parser() -> Arguments:
    parser = Arguments(prog="python -m benchmarks", description="Side-by-side measurements.")
    commands = parser.add_subparsers(required=True)
    text = "the ingress beside MLServer, BentoML, bare FastAPI and ONNX Runtime in process (needs wrk)"
    ingress = commands.add_parser("ingress", help=text, description=text)
    ingress.set_defaults(command=_ingress)
    ingress.add_argument("--model", default="flight-delay", help="a model of serve.yaml that is in the registry")
    ingress.add_argument("--rounds", type=_positive, default=5, help="how often each measurement is taken (5)")
    ingress.add_argument("--seconds", type=_positive, default=3, help="how long each takes (3)")
    ingress.add_argument("--only", action="append", default=[], choices=[*CASES], help="a case; may be given again")
    ingress.add_argument("--write", type=Path, metavar="PAGE", help="make a Markdown page from the run")
    text = "a language model through the ingress, beside vLLM's own server (needs the extra llm)"
    llm = commands.add_parser("llm", help=text, description=text)
    llm.set_defaults(command=_llm)
    llm.add_argument("--rounds", type=_positive, default=12, help="how often each measurement is taken (12)")
    llm.add_argument("--tokens", type=_positive, default=32, help="tokens of each answer (32)")
    llm.add_argument("--one-layer", action="store_true", help="by a model of one layer: what the way of a token costs")
    lightgbm = commands.add_parser("lightgbm", help="gradient-boosted trees on the columns of a view")
    lightgbm.set_defaults(command=_lightgbm)
    lightgbm.add_argument("--view", type=Path, required=True, help="a folder made by `python -m spark_jobs`")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


def _dispatch(arguments: Namespace) -> int:
    arguments.command(arguments)
    return 0


def _ingress(arguments: Namespace) -> None:
    from benchmarks.ingress import Options
    from benchmarks.ingress import run as measure

    measure(Options(arguments.model, arguments.rounds, arguments.seconds, tuple(arguments.only), arguments.write))


def _llm(arguments: Namespace) -> None:
    from benchmarks.llm import Options
    from benchmarks.llm import run as measure

    measure(Options(arguments.rounds, arguments.tokens, arguments.one_layer))


def _lightgbm(arguments: Namespace) -> None:
    from benchmarks.lightgbm_baseline import run as train

    train(arguments.view)


if __name__ == "__main__":
    sys.exit(main())
