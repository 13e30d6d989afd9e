"""``python -m serve``: run, check, predict, keys, usage."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import console
from console import say, stage
from serve.access import keys_command
from serve.llm import usage_command
from serve.llm.settings import UsageSettings
from serve.settings import DEFAULT_IN_WORDS, client_key, read_settings, settings_file

DEFAULT_URL = "http://127.0.0.1:8000"


def _parser() -> argparse.ArgumentParser:
    parser = console.Arguments(prog="python -m serve", description="Serve versions of models.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "start Ray, Serve and the ingress; Ctrl-C stops them"),
        ("check", "read the settings, resolve and verify every model, and start nothing"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--settings", default="", metavar="FILE", help=DEFAULT_IN_WORDS)
    text = "send rows to a running ingress, with the key in SERVE_KEY, and print what it answers"
    command = commands.add_parser("predict", help=text, description=text)
    command.add_argument("model")
    command.add_argument("--rows", required=True, metavar="FILE", help="JSON: an array of objects, or one; - is stdin")
    command.add_argument("--url", default=DEFAULT_URL, help=f"default: {DEFAULT_URL}")
    keys_command.add_parser(commands)
    usage_command.add_parser(commands)
    return parser


def run(settings: str) -> int:
    """Serve until SIGINT or SIGTERM."""
    from serve.start import STOP_SECONDS, application, base_url, leave, stop

    found = read_settings(settings_file({"settings": settings}))
    app = application({"settings": settings}, own=False)
    from ray import serve as ray_serve

    from serve.app import APPLICATION

    try:
        with stage("load the models"):
            ray_serve.run(app, name=APPLICATION, route_prefix="/")
        say(f"✓ ready at {base_url(found.http)}; Ctrl-C stops it")
        while True:
            signal.pause()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        stop(found.ingress.drain_seconds + STOP_SECONDS)
    leave()


def check(settings: str) -> int:
    """Verify what the settings name; a line each."""
    from serve.llm.requirements import require_language
    from serve.start import verify_all, verify_encoders
    from training.registry import Registry

    found = read_settings(settings_file({"settings": settings}))
    registry = Registry(found.registry.uri)
    sources = require_language(found) if found.backends else {}
    for name, model in verify_all(found, registry).items():
        say(f"{name}  version {model.version.version}  {len(model.contract.features)} features  {model.model}")
    for name, encoder in verify_encoders(found, registry.uri).items():
        say(f"{name}  version {encoder.version}  text encoder")
    for name, source in sources.items():
        for version in source.versions:
            say(f"{name}  {version.name} version {version.version}  {version.kind}")
    return 0


def predict(model: str, rows: str, url: str) -> int:
    from serve.predict import predict_rows, read_rows, table

    text = sys.stdin.read() if rows == "-" else None
    columns = read_rows(Path(rows), text)
    prediction = predict_rows(url, model, columns, client_key())
    for line in table(prediction):
        say(line)
    return 0


def _usage(options: argparse.Namespace) -> UsageSettings:
    # A ledger that is named needs no settings: they may be on another machine.
    return UsageSettings() if options.ledger else read_settings(settings_file({"settings": options.settings})).usage


def command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    match options.command:
        case "run":
            return run(options.settings)
        case "check":
            return check(options.settings)
        case "keys":
            return keys_command.run(options, read_settings(settings_file({"settings": options.settings})).access)
        case "usage":
            return usage_command.run(options, _usage(options))
        case _:
            return predict(options.model, options.rows, options.url)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(lambda: command(arguments))


if __name__ == "__main__":
    sys.exit(main())
