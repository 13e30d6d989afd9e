"""Start Ray and Serve for a settings file: check everything that can be checked before anything starts.

Errors::

    UserError
    └── StartError          what the settings ask for can't be had on this machine
        ├── PortTaken       another process listens there, or the address is not this machine's
        └── TooFewCpus      the replicas need more CPUs than Ray has here
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from console import INTERRUPTED, UserError, say, stage
from serve import loopback, ports
from serve.releases.verify import VerifiedModel, fetch
from serve.settings import Http, Settings, read_settings, settings_file
from training.registry import Registry

if TYPE_CHECKING:
    from ray.serve import Application


class StartError(UserError):
    """What the settings ask for can't be had on this machine."""


class PortTaken(StartError):
    """Another process listens there, or the address is not this machine's."""


class TooFewCpus(StartError):
    """The replicas need more CPUs than Ray has here."""


def application(args: Mapping[str, str]) -> Application:
    """Check the settings, the ports and the models, start Ray and Serve, and give the application.

    Where Ray runs already (a cluster that was given the application to deploy), nothing is started.

    Raises:
        UserError: one of the errors above, of ``serve.settings``, ``serve.releases.verify`` or
            ``training.registry``.
    """
    file = settings_file(args)
    settings = read_settings(file)
    running = _ray_runs()
    if not running:
        for key, host, port in (
            ("http.port", settings.http.host, settings.http.port),
            ("dashboard.port", settings.dashboard.host, settings.dashboard.port),
        ):
            _require_free(file, key, host, port)
    registry = Registry(settings.registry.uri)
    verified = verify_all(settings, registry)
    if not running:
        try:
            _start(settings)
        except KeyboardInterrupt:
            stop(0)
            sys.exit(INTERRUPTED)
    # Ray takes seconds to import: only now, when nothing can be wrong with the settings any more.
    from serve.app import bind

    return bind(settings, {name: model.version for name, model in verified.items()}, registry.uri)


def verify_all(settings: Settings, registry: Registry) -> dict[str, VerifiedModel]:
    """Resolve the alias of every model and fetch and verify the version it names now."""
    verified = {}
    for name, model in settings.models.items():
        with stage(f"verify {name}@{model.alias}") as current:
            version = registry.resolve(name, model.alias)
            verified[name] = fetch(registry, version, settings.registry.cache_folder)
            current.detail = f"version {version.version}, SHA-256 {version.model_digest[:12]}…"
    return verified


def stop(seconds: float) -> None:
    """End Serve, drained where that takes no more than ``seconds``, and the Ray that this process started.

    A second Ctrl-C does not interrupt it.
    """
    import ray

    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, signal.SIG_IGN)
    if ray.is_initialized():
        # A Serve whose processes got the signal too (systemd sends it to all of them) never answers,
        # and Ray would wait for it for half a minute.
        shutdown = threading.Thread(target=_shut_down_serve, name="shutdown", daemon=True)
        shutdown.start()
        shutdown.join(seconds)
        ray.shutdown()


def _shut_down_serve() -> None:
    from ray import serve as ray_serve

    # One that did not come up can't be asked to go down; its processes end with Ray.
    with contextlib.suppress(Exception):
        ray_serve.shutdown()


def base_url(http: Http) -> str:
    """The ingress as a client on this machine calls it."""
    host = "127.0.0.1" if http.host in ("0.0.0.0", "::") else http.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"


def _start(settings: Settings) -> None:
    folder = Path(tempfile.mkdtemp(prefix="serve-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    on_loopback = loopback.is_loopback(settings.http.host)
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", f"{settings.ingress.drain_seconds:g}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    atexit.register(ports.reserve().close)
    loopback.bind_haproxy(folder, loopback=on_loopback)
    with stage("start Ray and Serve"):
        import ray
        from ray import serve as ray_serve

        if on_loopback:
            loopback.bind_node()
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=True,
            dashboard_host=settings.dashboard.host,
            dashboard_port=settings.dashboard.port,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        # Ray's own handler kills its processes at once, in the middle of requests.
        signal.signal(signal.SIGTERM, _interrupt)
        _require_cpus(settings, ray.cluster_resources().get("CPU", 0))
        ray_serve.start(http_options={"host": settings.http.host, "port": settings.http.port})
    say(f"  ingress    {base_url(settings.http)}  (ready when GET /v2/health/ready answers 200)")
    say(f"  dashboard  http://{settings.dashboard.host}:{settings.dashboard.port}")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _require_free(file: Path, key: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"{key} {host}:{port} can't be listened on ({error.strerror or error}): "
                f"stop what runs there, or set another in {file}"
            ) from error


def _require_cpus(settings: Settings, available: float) -> None:
    needed = settings.ingress.replicas * settings.ingress.cpus
    if needed > available:
        raise TooFewCpus(
            f"ingress: {settings.ingress.replicas} replicas of {settings.ingress.cpus:g} CPUs need {needed:g}, "
            f"Ray has {available:g} here"
        )
