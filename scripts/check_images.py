"""``python -m scripts.check_images``: build the images lambda, serve and mlflow with no container engine, and ask them.

For a person on a Debian machine, as root; CI runs it not. It needs ``apt-get install buildah debootstrap``. The base is
a fresh Debian 12, whose Python is 3.11, in the place of the official image. Each container's own process then runs as
the image's user, on a read-only root with an empty ``/tmp``, and answers a request.

Errors::

    UserError
    └── ImageCheckError    a tool is missing, an image can't be built, or its process does not answer
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.ports import free_port
from console import Arguments, UserError, run, say, stage

ROOT = Path(__file__).parents[1]
BASE = "localhost/ml-training-deployment/base:bookworm"
TAG = "check"
PACKAGES = "python3,python3-venv,ca-certificates"
TOOLS = ("buildah", "debootstrap", "unshare", "chroot")
BUILDAH = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
READY_SECONDS = 180
MIB = 2**20

CONTAINED = """
set -e
root=$1 user=$2 given=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind -o ro "$given" "$root/mnt"
cd "$root"
exec chroot --userspec="$user" "$root" env -i -C /tmp "$@"
"""
"""In namespaces of its own, so that all of it ends with the process."""

BUILD_TOOLS = "gcc|cc|g[+][+]|make|ld|uv|buildah"
LOOK = f"! compgen -c | grep -xE '{BUILD_TOOLS}' && ! touch /written 2>/dev/null && touch /tmp/written && id -u"


class ImageCheckError(UserError):
    """A tool is missing, an image can't be built, or its process does not answer."""


@dataclass(frozen=True)
class Image:
    """A built image and its root, mounted."""

    name: str
    root: Path
    config: Mapping[str, Any]
    layers: int

    @property
    def command(self) -> list[str]:
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    def start(
        self, command: Sequence[str], variables: Mapping[str, str], output: Any, folder: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command as a container's engine would, with the host's network and ``folder`` at ``/mnt``."""
        environment = [*self.config["Env"], *(f"{key}={value}" for key, value in variables.items())]
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "bash", "-c", CONTAINED, "contained"]
        return subprocess.Popen(
            [*isolated, str(self.root), self.config["User"], str(folder), *environment, *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def says(self, command: Sequence[str], variables: Mapping[str, str], folder: Path) -> str:
        """What a command that ends prints.

        Raises:
            ImageCheckError: it ends with another code than 0.
        """
        with tempfile.TemporaryFile("w+b") as output:
            started = self.start(command, variables, output, folder)
            # What takes too long is killed, and has a code of its own then.
            with ended(started, 0.5) as process, contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=READY_SECONDS)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code := process.returncode:
            raise ImageCheckError(f"{self.name}: {command[0]} ended with code {code}, expected 0: {said[-1500:]}")
        return said


def buildah(*arguments: str) -> str:
    """Run it and return what it prints.

    Raises:
        ImageCheckError: it fails.
    """
    ran = subprocess.run(["buildah", *arguments], env=os.environ | BUILDAH, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ImageCheckError(f"buildah {arguments[0]} failed: {ran.stderr.strip()[-600:]}")
    return ran.stdout.strip()


def make_base(folder: Path) -> None:
    if BASE in buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        return
    tree = folder / "base"
    with stage("make a base image"):
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tree)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise ImageCheckError(f"debootstrap failed: {ran.stdout.strip()[-600:]}")
        for left in (tree / "var/cache/apt/archives", tree / "var/lib/apt/lists"):
            shutil.rmtree(left)
            left.mkdir()
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY base /\n")
        buildah("build", "--format", "docker", "--tag", BASE, str(folder))
        shutil.rmtree(tree)


def build(name: str, options: Sequence[str]) -> None:
    command = ["infra/images/build.sh", name, TAG, "--build-arg", f"BASE={BASE}", *options]
    with stage(f"build {name}"):
        ran = subprocess.run(command, cwd=ROOT, env=os.environ | BUILDAH, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise ImageCheckError(f"{name} can't be built: {ran.stderr.strip()[-1500:]}")


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """The built image's root, until the block ends."""
    reference = f"localhost/ml-training-deployment/{name}:{TAG}"
    described = json.loads(buildah("inspect", "--type", "image", reference))["Docker"]
    container = buildah("from", reference)
    try:
        root = Path(buildah("mount", container))
        yield Image(name, root, described["config"], len(described["rootfs"]["diff_ids"]))
    finally:
        buildah("rm", container)


def look(image: Image, folder: Path) -> None:
    """Check what holds for every image."""
    user = image.says(["bash", "-c", LOOK], {}, folder).strip()
    if user != image.config["User"].partition(":")[0]:
        raise ImageCheckError(f"{image.name}: runs as {user}, expected {image.config['User']}")
    size = subprocess.run(["du", "-sm", str(image.root)], capture_output=True, text=True, check=True).stdout.split()[0]
    say(f"  {image.name}: {size} MiB unpacked, {image.layers} layers, user {user}, read-only root, no build tools")


class RuntimeApi(ThreadingHTTPServer):
    """Lambda's side of the runtime interface: it has one event, and waits for the answer.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    daemon_threads = True

    def __init__(self, event: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Invocation)
        self.event = json.dumps(event).encode()
        self.given = threading.Event()
        self.answer: queue.Queue[tuple[str, Any]] = queue.Queue()

    def answered(self, process: subprocess.Popen[bytes], log: Path) -> tuple[str, Any]:
        """``("response", answer)``, or ``("error", description)``.

        Raises:
            ImageCheckError: the process has ended, or the time is over.
        """
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(queue.Empty):
                return self.answer.get(timeout=0.2)
        raise ImageCheckError(f"lambda: no answer; the process said: {log.read_text(errors='replace')[-1500:]}")


class _Invocation(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        if self.server.given.is_set():
            # A real one would keep it waiting for the next event, too.
            time.sleep(READY_SECONDS)
            return
        self.server.given.set()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8a7d2f2c-0d5e-4b7b-9d0c-6a1c5a1f5f6e")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 30) * 1000)))
        self.send_header(
            "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:123456789012:function:predict"
        )
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e;Sampled=0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.event)))
        self.end_headers()
        self.wfile.write(self.server.event)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.answer.put((self.path.rpartition("/")[2], body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


def ask_lambda(image: Image, folder: Path) -> None:
    """Give the image's own entry point an event of an HTTP API over Lambda's runtime interface."""
    from tests.unit.infra.lambdas.conftest import OPEN, event, release

    model = folder / "model"
    model.mkdir()
    release(model)
    log = folder / "lambda.log"
    with RuntimeApi(event("http_api_v2")) as api, log.open("wb") as output:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        variables = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "predict",
            "AWS_REGION": "eu-west-1",
            "MODEL_URI": "/mnt/model",
            "SERVE_SETTINGS_YAML": OPEN,
        }
        started = time.monotonic()
        # Nothing in the image listens to SIGTERM, and Lambda sends it to extensions alone.
        with ended(image.start(image.command, variables, output, folder), 0.5) as process:
            path, answer = api.answered(process, log)
        seconds = time.monotonic() - started
        api.shutdown()
    if path != "response" or answer.get("statusCode") != 200:
        raise ImageCheckError(f"lambda: answered {path} {str(answer)[:800]}, expected a response with status 200")
    say(f"  lambda: {seconds:.1f} s from start to answer, which is {answer['body'][:160]}")


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """An MLflow server with one version of the tiny model."""
    from tests.integration.serve.conftest import register

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (
        (folder / "mlflow.log").open("wb") as log,
        ended(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)) as server,
    ):
        answers(f"{url}/health", server, folder / "mlflow.log")
        register(url)
        yield url


@contextmanager
def ended(process: subprocess.Popen[bytes], seconds: float = 30) -> Iterator[subprocess.Popen[bytes]]:
    """End a process as an engine does: by SIGTERM, and after some seconds by SIGKILL."""
    try:
        yield process
    finally:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, sent)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=seconds)


def answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the address answers 200.

    Raises:
        ImageCheckError: the process has ended, or the time is over.
    """
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise ImageCheckError(f"{url} does not answer; the process said: {log.read_text(errors='replace')[-1500:]}")


def ask_serve(image: Image, folder: Path) -> None:
    """Serve the tiny model with the image's own entry point and settings in the environment, and ask it for a row."""
    from serve.predict import predict_rows
    from tests.unit.serve import tiny

    port = free_port()
    settings = {
        "access": {"required": False},
        "access_log": {"folder": None},
        "http": {"port": port},
        "dashboard": {"port": free_port()},
        "registry": {"cache": "/tmp/models"},  # noqa: S108
        "ingress": {"cpus": 0.5},
        "models": {tiny.NAME: {"max_rows": 1000}},
    }
    log = folder / "serve.log"
    url = f"http://127.0.0.1:{port}"
    health = f"{url}/v2/health/ready"
    with tracking_server(folder) as tracking, log.open("wb") as output:
        variables = {
            "SERVE_SETTINGS_YAML": yaml.safe_dump(settings),
            "MLFLOW_TRACKING_URI": tracking,
            "HEALTH_URL": health,
        }
        started = time.monotonic()
        with ended(image.start(image.command, variables, output, folder)) as process:
            answers(health, process, log)
            ready = time.monotonic() - started
            columns = tiny.columns(tiny.ROWS[:1])
            prediction = predict_rows(url, tiny.NAME, columns, None)
            image.says(image.config["Healthcheck"]["Test"][1:], variables, folder)
            say(f"  serve: ready after {ready:.0f} s, its health check agrees, and it answers {prediction}")


def ask_mlflow(image: Image, folder: Path) -> None:
    """Start the server over a database in its /tmp, and ask whether it is well."""
    port = free_port()
    log = folder / "mlflow-image.log"
    variables = {
        "MLFLOW_BACKEND_STORE_URI": "sqlite:////tmp/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": "/tmp/artifacts",  # noqa: S108
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
    }
    started = time.monotonic()
    with log.open("wb") as output, ended(image.start(image.command, variables, output, folder)) as process:
        answers(f"http://127.0.0.1:{port}/health", process, log)
        say(f"  mlflow: answers after {time.monotonic() - started:.0f} s")


ASK: dict[str, Callable[[Image, Path], None]] = {"lambda": ask_lambda, "serve": ask_serve, "mlflow": ask_mlflow}


def check(options: Namespace) -> int:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ImageCheckError(f"{', '.join(missing)} not found: apt-get install buildah debootstrap")
    if os.geteuid() != 0:
        raise ImageCheckError("root is needed to mount what was built: run it with sudo")
    with tempfile.TemporaryDirectory(prefix="images-") as scratch:
        folder = Path(scratch)
        # The images' user reads what is mounted.
        folder.chmod(0o755)
        make_base(folder)
        for name in options.images or ASK:
            if not options.built:
                build(name, options.option)
            with mounted(name) as image, stage(f"ask {name}"):
                look(image, folder)
                ASK[name](image, folder)
    return 0


def arguments(given: Sequence[str] | None = None) -> Namespace:
    parser = Arguments(prog="python -m scripts.check_images", description="Build images and ask them, with no engine.")
    parser.add_argument(
        "images", nargs="*", choices=[*ASK, []], metavar="IMAGE", help=f"of {', '.join(ASK)}; default: all"
    )
    parser.add_argument("--built", action="store_true", help="ask those that an earlier run has built")
    option = "of `buildah build`, such as --option=--secret=id=pip,src=/etc/pip.conf (see infra/images/build.sh)"
    parser.add_argument("--option", action="append", default=[], help=option)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(run(lambda: check(arguments())))
