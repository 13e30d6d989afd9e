"""``python -m demo``: flights → features → training → registry → answers over HTTP, then stop.

``python -m demo ask`` and ``python -m demo parity`` are its last steps, for an ingress that runs.
``python -m demo chat`` is another: a small language model.
"""

from __future__ import annotations

import shutil
import sys
import time
from argparse import Namespace
from pathlib import Path

from console import Arguments, run, say, stage
from demo.processes import DemoError, Processes, require_free_port

FOLDER = Path("build/demo")
VIEW = FOLDER / "flights"
CACHE = FOLDER / "asked"
MODEL = "flight-delay"
MLFLOW_PORT = 5000
EPOCHS = "2"
KEY_LIFE = "1h"


def main(arguments: list[str] | None = None) -> int:
    return run(lambda: _dispatch(_parser().parse_args(arguments)))


def _parser() -> Arguments:
    parser = Arguments(prog="python -m demo", description="The whole line on real data.")
    parser.set_defaults(command=_demo)
    parser.add_argument("--epochs", default=EPOCHS, help=f"epochs of training (default {EPOCHS})")
    parser.add_argument("--keep", action="store_true", help="leave it running, to look around, until Ctrl-C")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="take pictures of the dashboards")
    commands = parser.add_subparsers()
    for name, command, text in (
        ("ask", _ask, "send ten flights of December to a running ingress"),
        ("parity", _parity, "send 1,000 rows through torch, ONNX Runtime and a running ingress"),
        ("chat", _chat, "serve a small language model and talk to it"),
    ):
        step = commands.add_parser(name, help=text)
        step.set_defaults(command=command)
    return parser


def _dispatch(arguments: Namespace) -> int:
    arguments.command(arguments)
    return 0


def _demo(arguments: Namespace) -> None:
    from serve.settings import KEY_VARIABLE, read_settings, settings_file

    started = time.monotonic()
    settings = read_settings(settings_file({}))
    if MODEL not in settings.models:
        raise DemoError(f"{settings_file({})} serves no {MODEL}: the demo needs it")
    ingress = f"http://127.0.0.1:{settings.http.port}"
    dashboard = f"http://127.0.0.1:{settings.dashboard.port}"
    mlflow = f"http://127.0.0.1:{MLFLOW_PORT}"
    for port, what in (
        (settings.http.port, "the ingress"),
        (settings.dashboard.port, "the Ray dashboard"),
        (MLFLOW_PORT, "MLflow"),
    ):
        require_free_port(port, what)

    shutil.rmtree(FOLDER, ignore_errors=True)
    store = FOLDER / "mlflow"
    (store / "artifacts").mkdir(parents=True)
    processes = Processes(
        FOLDER / "logs",
        # The demo runs no scheduled evaluations: without their workers MLflow starts twice as fast.
        {
            "MLFLOW_TRACKING_URI": mlflow,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )
    try:
        with processes.background(
            *("mlflow", "server", "--host", "127.0.0.1", "--port", str(MLFLOW_PORT), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"),
            *("--artifacts-destination", str(store / "artifacts")),
        ) as tracking:
            processes.run("python", "-m", "spark_jobs", "flights", "--out", str(VIEW))
            tracking.wait_until_ready(f"{mlflow}/health")
            processes.run("python", "-m", "training", "train", MODEL, "--view", str(VIEW), "--epochs", arguments.epochs)
            processes.run("python", "-m", "training", "register", MODEL, "--view", str(VIEW))
            with processes.background("serve", "run", "serve.config") as serving:
                with stage("wait for the ingress"):
                    serving.wait_until_ready(f"{ingress}/v2/health/ready")
                say(f"  ingress        {ingress}")
                say(f"  Ray dashboard  {dashboard}/#/serve  (it asks for the token that `ray get-auth-token` prints)")
                say(f"  MLflow         {mlflow}/#/models/{MODEL}")
                create = ("python", "-m", "serve", "keys", "create", "demo", "--models", MODEL, "--expires", KEY_LIFE)
                processes.environment[KEY_VARIABLE] = processes.secret(*create)
                processes.run("python", "-m", "demo", "ask")
                processes.run("python", "-m", "demo", "parity")
                if arguments.screenshots:
                    from demo.screenshots import take

                    take(arguments.screenshots, dashboard=dashboard, mlflow=mlflow, model=MODEL)
                if arguments.keep:
                    _wait_for_ctrl_c()
    finally:
        processes.require_none_left()
    say(f"\n✓ demo  {time.monotonic() - started:.0f} s; nothing is left running; its files are in {FOLDER}")


def _wait_for_ctrl_c() -> None:
    say("\nrunning until Ctrl-C, at the addresses above")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        say("")


def _ask(_: Namespace) -> None:
    from demo.ask import ask
    from training.registry import Registry

    ask(_ingress(), MODEL, VIEW, Registry(), CACHE)


def _parity(_: Namespace) -> None:
    from demo.parity import parity
    from training.registry import Registry

    parity(_ingress(), MODEL, VIEW, Registry(), CACHE)


def _chat(_: Namespace) -> None:
    from demo.chat import chat

    chat()


def _ingress() -> str:
    from serve.settings import read_settings, settings_file

    return f"http://127.0.0.1:{read_settings(settings_file({})).http.port}"


if __name__ == "__main__":
    sys.exit(main())
