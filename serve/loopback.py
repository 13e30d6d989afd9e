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
from typing import Any

VARIABLE = "ML_SERVE_ON_LOOPBACK"
"""Tells Serve's own processes, which know no settings of ours, that loopback is meant."""


def bind_node() -> None:
    """Make the Ray that this process starts next choose 127.0.0.1 as the node's address."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ[VARIABLE] = "1"
    # Ray's command has read the variable above before it came to us.
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def bind_replica() -> None:
    """In a replica, before Serve has started its servers: bind its RPC port to loopback."""
    replica: Any = importlib.import_module("ray.serve._private.replica")
    replica.add_port_to_grpc_server = _on_loopback(replica.add_port_to_grpc_server)
    bind_grpc_ingress()


def bind_grpc_ingress() -> None:
    """In a process that is to serve gRPC: bind it to loopback. Serve listens on every interface whatever it is told."""
    implementation: Any = importlib.import_module("ray.serve._private.default_impl")
    implementation.add_grpc_address = _on_loopback(implementation.add_grpc_address)


def _on_loopback(add_port: Any) -> Any:
    def add(server: object, address: str) -> object:
        return add_port(server, address.replace("[::]:", "127.0.0.1:"))

    return add
