"""Start Ray and Serve for a settings file: check everything that can be checked before anything starts.

Errors::

    UserError
    └── StartError              what the settings ask for can't be had on this machine
        ├── PortTaken           another process listens there, or the address is not this machine's
        ├── TooFewCpus          the replicas need more CPUs than Ray has here
        └── ServeUnavailable    its controller or its ingress did not come up
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
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from console import INTERRUPTED, OutputClosed, UserError, one_line, ray_cluster, say, stage
from serve import direct, haproxy, loopback, ports
from serve.gateway.grpc_service import SERVICER
from serve.llm.deployed.sources import verify
from serve.llm.requirements import require_language
from serve.llm.settings import Deployed
from serve.releases.verify import VerifiedModel, fetch
from serve.settings import Http, Settings, SettingsText, read_settings, settings_file
from training.bundle import Bundles, BundleVersion
from training.registry import Registry

if TYPE_CHECKING:
    from ray.serve import Application


LOOK_SECONDS = 0.1
STOP_SECONDS = 3
"""How long Serve's processes may take to end, beyond the drain."""


_at_the_end = contextlib.ExitStack()
atexit.register(_at_the_end.close)


class StartError(UserError):
    """What the settings ask for can't be had on this machine."""


class PortTaken(StartError):
    """Another process listens there, or the address is not this machine's."""


class TooFewCpus(StartError):
    """The replicas need more CPUs than Ray has here."""


class ServeUnavailable(StartError):
    """Its controller or its ingress did not come up."""


def application(args: Mapping[str, str], *, own: bool = True) -> Application:
    """Check the settings, the ports and the models, start Ray and Serve, and give the application.

    Where Ray runs already (a cluster that was given the application to deploy), nothing is started.
    ``own``: end it all at a signal; else that is the caller's.

    Raises:
        UserError: one of the errors above, of ``serve.settings``, ``serve.releases.verify``,
            ``training.registry`` or ``console.ray_cluster``.
    """
    file = settings_file(args)
    settings = read_settings(file)
    running = ray_runs()
    if not running:
        for key, host, port in (
            ("http.port", settings.http.host, settings.http.port),
            ("dashboard.port", settings.dashboard.host, settings.dashboard.port),
            ("grpc.port", settings.http.host, settings.grpc.port),
        ):
            if port is not None:
                _require_free(file, key, host, port)
    registry = Registry(settings.registry.uri)
    sources = require_language(settings) if settings.backends else {}
    verified = verify_all(settings, registry)
    encoders = verify_encoders(settings, registry.uri)
    if not running:
        try:
            _start(settings)
        except KeyboardInterrupt:
            stop(0)
            sys.exit(INTERRUPTED)
    # Ray takes seconds to import: only now, when nothing can be wrong with the settings any more.
    from serve.app import bind

    if own and not running:
        stop_on_signals(settings)
    versions = {name: model.version for name, model in verified.items()}
    return bind(settings, {**versions, **encoders}, registry.uri, sources)


def verify_all(settings: Settings, registry: Registry) -> dict[str, VerifiedModel]:
    """Resolve the alias of every model and fetch and verify the version it names now."""
    verified: dict[str, VerifiedModel] = {}
    for name, model in settings.models.items():
        with stage(f"verify {name}@{model.alias}") as current:
            version = registry.resolve(name, model.alias)
            verified[name] = fetch(registry, version, settings.registry.cache_folder)
            current.detail = f"version {version.version}, SHA-256 {version.model_digest[:12]}…"
    return verified


def verify_encoders(settings: Settings, registry: str) -> dict[str, BundleVersion]:
    """The same of the language models that are text encoders."""
    bundles = Bundles(registry)
    return {
        name: verify(backend, bundles, settings.encoder(name).reference, "encoder", settings.registry.cache_folder)
        for name, backend in settings.encoders.items()
    }


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
        shutdown = threading.Thread(target=_delete_applications, name="shutdown", daemon=True)
        shutdown.start()
        shutdown.join(seconds)
        ray.shutdown()


def stop_on_signals(settings: Settings) -> None:
    """End Serve and this process at Ctrl-C or SIGTERM, for a command of Ray's own.

    Ray's would wait for half a minute for the answer of a controller that has ended itself.
    """

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        # Also where nobody reads what is said any more.
        with contextlib.suppress(OutputClosed):
            say("stopping")
        stop(settings.ingress.drain_seconds + STOP_SECONDS)
        leave()

    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, end)


def leave() -> NoReturn:
    """End this process now. The interpreter would take Ray's and MLflow's modules apart first, for three seconds."""
    _at_the_end.close()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _delete_applications() -> None:
    """Drain and end every replica. (``serve.shutdown`` waits for an answer of a controller that has ended itself.)"""
    from ray import serve as ray_serve

    # One that did not come up can't be asked to go down; its processes end with Ray.
    with contextlib.suppress(Exception):
        # One may begin to start another just then.
        while applications := ray_serve.status().applications:
            for name, application in applications.items():
                if application.status != "DELETING":
                    ray_serve.delete(name, _blocking=False)
            # Serve's own waiting looks once a second.
            time.sleep(LOOK_SECONDS)


def base_url(http: Http) -> str:
    """The ingress as a client on this machine calls it."""
    host = "127.0.0.1" if http.host in ("0.0.0.0", "::") else http.host  # noqa: S104 - compared, not bound
    scheme = "https" if http.tls else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{http.port}"


def _start(settings: Settings) -> None:
    folder = Path(tempfile.mkdtemp(prefix="serve-"))
    _at_the_end.callback(shutil.rmtree, folder, ignore_errors=True)
    _at_the_end.callback(ports.reserve().close)
    _set_environment(settings)
    haproxy.install(folder, settings)
    with stage("start Ray and Serve"):
        import ray

        if settings.http.on_loopback:
            loopback.bind_node()
        ray_cluster.connect(
            "local",
            namespace="serve",
            include_dashboard=True,
            dashboard_host=settings.dashboard.host,
            dashboard_port=settings.dashboard.port,
        )
        # Ray's own handler kills its processes at once, in the middle of requests.
        signal.signal(signal.SIGTERM, _interrupt)
        _require_cpus(settings, ray.cluster_resources().get("CPU", 0))
        _start_ingress(settings)
    say(f"  ingress    {base_url(settings.http)}  (ready when GET /v2/health/ready answers 200)")
    if settings.grpc.port:
        say(f"  gRPC       {settings.http.host}:{settings.grpc.port}  (inference.GRPCInferenceService)")
    say(f"  dashboard  http://{settings.dashboard.host}:{settings.dashboard.port}")


def _start_ingress(settings: Settings) -> None:
    """Start Serve's controller and its HAProxy, with the time that Ray itself had.

    Serve waits for 60 s (fixed, ``ray/serve/_private/constants.py``); for how long the controller lets HAProxy
    start is in :func:`serve.haproxy.environment`.

    Raises:
        ServeUnavailable: they did not come up.
    """
    from ray import serve as ray_serve
    from ray.exceptions import RayError
    from ray.serve._private import api
    from ray.serve.config import gRPCOptions

    grpc = gRPCOptions(port=settings.grpc.port, grpc_servicer_functions=[SERVICER]) if settings.grpc.port else None
    api.HTTP_PROXY_TIMEOUT = ray_cluster.START_SECONDS  # type: ignore[attr-defined]
    try:
        ray_serve.start(http_options={"host": settings.http.host, "port": settings.http.port}, grpc_options=grpc)
    except (RayError, TimeoutError) as error:
        why = one_line(str(error))[:300]
        logs = ray_cluster.logs() / "serve"
        raise ServeUnavailable(f"Serve did not start on this machine: {why}: its logs are in {logs}") from error


def _set_environment(settings: Settings) -> None:
    """What Serve's processes read when they start, where the user has not said otherwise."""
    for variable, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": direct.CALLBACK,
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": f"{settings.ingress.drain_seconds:g}",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(settings.grpc.max_message_bytes),
        **haproxy.environment(),
    }.items():
        os.environ.setdefault(variable, value)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def ray_runs() -> bool:
    """Whether this process belongs to a Ray that runs already."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _require_free(file: Path | SettingsText, key: str, host: str, port: int) -> None:
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
    ingress = settings.ingress
    needs = [("ingress", ingress.replicas, ingress.autoscaling, ingress.cpus)]
    needs += [
        (f"models.{name}", model.replicas, model.autoscaling, model.cpus)
        for name, model in settings.models.items()
        if model.placement == "replica"
    ]
    needs += [
        (f"backends.{name}", backend.replicas, None, backend.cpus)
        for name, backend in settings.backends.items()
        if isinstance(backend, Deployed)
    ]
    replicas = [(key, scale.lowest if scale else count, cpus) for key, count, scale, cpus in needs]
    needed = sum(count * cpus for _, count, cpus in replicas)
    if needed > available:
        parts = ", ".join(f"{key} {count} × {cpus:g}" for key, count, cpus in replicas)
        raise TooFewCpus(f"the replicas need {needed:g} CPUs ({parts}), Ray has {available:g} here")
