"""The servers that the ingress is held beside: their environments, and how each is started.

A peer is installed as its own documentation says (``requirements.txt`` beside its code pins what was
measured) into an environment of its own under ``build/peers/``, so that nothing of it enters ours.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.bare import MODEL_VARIABLE
from benchmarks.cases import BARE, BENTOML, MLSERVER
from benchmarks.ports import free_port
from console import UserError, stage

ENVIRONMENTS = Path("build/peers")
SOURCES = Path(__file__).parent
STAMP = "installed.txt"


class PeerUnusable(UserError):
    """A peer can't be installed."""


@dataclass(frozen=True)
class Site:
    """What a server is to serve: the model's name and its verified ONNX file; ``folder`` is its own, and empty."""

    name: str
    model: Path
    folder: Path


@dataclass(frozen=True)
class Launch:
    """How a server is started, what answers 200 when its model is loaded, and where it infers.

    ``headers`` belong to every request; ``environment`` is beside that of this process.
    """

    command: tuple[str, ...]
    ready: str
    infer: str
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """``package``: the distribution that it is; ``installed``: into an environment of its own, else it is in ours."""

    package: str
    launch: Callable[[Site], Launch]
    installed: bool = True

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS.resolve() / self.package


def install(peer: Peer) -> None:
    """Make the peer's environment, unless it is there already from the same requirements.

    Raises:
        PeerUnusable: uv can't make it or can't install into it.
    """
    if not peer.installed:
        return
    requirements = SOURCES / peer.package / "requirements.txt"
    stamp = peer.environment / STAMP
    if stamp.is_file() and stamp.read_bytes() == requirements.read_bytes():
        return
    with stage(f"install {peer.package} into {ENVIRONMENTS / peer.package}") as step:
        _uv("venv", "--clear", "--python", sys.executable, str(peer.environment))
        python = str(peer.environment / "bin/python")
        _uv("pip", "install", "--compile-bytecode", "--python", python, "--requirement", str(requirements))
        stamp.write_bytes(requirements.read_bytes())
        step.detail = version(peer)


def version(peer: Peer) -> str:
    """The version of a peer after :func:`install`."""
    if not peer.installed:
        return metadata.version(peer.package)
    folders = [str(folder) for folder in peer.environment.glob("lib/python*/site-packages")]
    return next(iter(metadata.distributions(name=peer.package, path=folders))).version


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *arguments, "--quiet"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerUnusable(f"{command[0]} can't be run ({error.strerror}): install with scripts/install.sh") from error
    if found.returncode:
        raise PeerUnusable(f"`uv {arguments[0]}` failed: {found.stderr[-400:]}")


def _program(package: str, name: str) -> tuple[str, ...]:
    # `env`, because Processes looks for a bare name beside this Python, and takes no path.
    return ("env", str(ENVIRONMENTS.resolve() / package / "bin" / name))


def _mlserver(site: Site) -> Launch:
    """One process (``parallel_workers: 0``), no access log (``debug``), the rest as MLServer has it."""
    shutil.copy(SOURCES / "mlserver/runtime.py", site.folder)
    port = free_port()
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
    }
    model = {"name": site.name, "implementation": "runtime.OnnxModel", "parameters": {"uri": str(site.model)}}
    (site.folder / "settings.json").write_text(json.dumps(settings))
    (site.folder / "model-settings.json").write_text(json.dumps(model))
    url = f"http://127.0.0.1:{port}/v2/models/{site.name}"
    return Launch((*_program("mlserver", "mlserver"), "start", str(site.folder)), f"{url}/ready", f"{url}/infer")


def _bentoml(site: Site) -> Launch:
    shutil.copy(SOURCES / "bentoml/service.py", site.folder)
    port = free_port()
    serve = ("serve", "service.py:Model", "--working-dir", str(site.folder))
    return Launch(
        (*_program("bentoml", "bentoml"), *serve, "--host", "127.0.0.1", "--port", str(port)),
        f"http://127.0.0.1:{port}/readyz",
        f"http://127.0.0.1:{port}/v2/models/{site.name}/infer",
        {
            "PEER_MODEL": str(site.model),
            "PEER_NAME": site.name,
            "BENTOML_HOME": str(site.folder / "home"),
            "BENTOML_DO_NOT_TRACK": "true",
        },
    )


def _bare(site: Site) -> Launch:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v2"
    return Launch(
        ("uvicorn", "benchmarks.bare:app", "--port", str(port), "--no-access-log"),
        f"{url}/health/ready",
        f"{url}/models/{site.name}/infer",
        {MODEL_VARIABLE: str(site.model)},
    )


PEERS = {
    MLSERVER: Peer("mlserver", _mlserver),
    BENTOML: Peer("bentoml", _bentoml),
    BARE: Peer("fastapi", _bare, installed=False),
}
