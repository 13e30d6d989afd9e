"""Ray, as every package joins it or starts one of its own: with patience, and what went wrong in one line.

Errors::

    UserError
    └── RayUnavailable    none started on this machine, or there is none at the address
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from console import UserError, one_line

START_SECONDS = 180
"""How long a process of Ray may take to be up. A machine that is busy with other work passes Ray's own limits."""

STARTS = 3
"""How often a node is started whose raylet ends meanwhile: it gives its agents, which are Python, 30 s and no more
(fixed, ``ray/util/port_persistence.h``)."""

NICENESS = {"RAY_worker_niceness": "0"}
"""Ray starts every worker at 15, where one that answers requests, or takes part in a step that others wait for, has a
thirtieth of the time of a core that a backup, or a Spark, takes for itself."""

ENVIRONMENT = {
    **NICENESS,
    # Ray's limits (30 s and 60 s) for its control service and for a worker.
    "RAY_gcs_server_port_wait_time_s": str(START_SECONDS),
    "RAY_worker_register_timeout_seconds": str(START_SECONDS),
}
"""What the processes of a Ray that is started here read, where the user has not said otherwise."""

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.1


class RayUnavailable(UserError):
    """None started on this machine, or there is none at the address."""


def connect(address: str, **options: Any) -> None:
    """``ray.init``, for a private cluster of this machine (``local``) or the one at ``address``.

    Raises:
        RayUnavailable: it did not come up, or can't be reached.
    """
    import ray

    _require_listener(address)
    if address == "local":
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
    for left in reversed(range(STARTS)):
        with _patience(START_SECONDS) as nodes:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
            except Exception as error:
                if left and any(map(_raylet_ended, nodes)):
                    for node in nodes:
                        node.kill_all_processes(check_alive=False, wait=True)
                    continue
                if (ours := _unavailable(address, error)) is None:
                    raise
                raise ours from error
        return


def _unavailable(address: str, error: Exception) -> RayUnavailable | None:
    """What Ray's error comes to; ``None`` where it is none of Ray's."""
    # Ray raises what it has no class for as Exception itself.
    if type(error) not in (Exception, RuntimeError) and not isinstance(error, OSError):
        return None
    why = one_line(str(error))[:300]
    if address != "local":
        return _none_at(address, why)
    return RayUnavailable(f"Ray did not start on this machine: {why}: its logs are in {logs()}")


def _raylet_ended(node: Any) -> bool:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    return any(each.process.poll() is not None for each in node.all_processes.get(PROCESS_TYPE_RAYLET, ()))


def _require_listener(address: str) -> None:
    """Ray tries for minutes to reach an address at which nobody listens."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _none_at(address, str(error)) from error


def _none_at(address: str, why: str) -> RayUnavailable:
    return RayUnavailable(f"there is no Ray at {address}: {why}: set RAY_ADDRESS to a cluster that runs, or unset it")


@contextmanager
def _patience(seconds: float) -> Iterator[list[Any]]:
    """Let the node that is started in the block, and its dashboard, take ``seconds`` to be there. Yields the nodes.

    Ray asks for the node until it is there, and counts its 30 s (fixed, ``ray/_private/node.py``) between two answers.
    The dashboard's 60 s are read from the environment when Ray is imported, which may have been long ago.
    """
    from ray._private import ray_constants, services
    from ray._private.node import Node

    nodes: list[Any] = []
    start: Callable[[Any], None] = Node.start_head_processes
    asked: Callable[[str, str], Any] = services.get_node
    dashboard: float = ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S

    def patient(gcs_address: str, node_id: str) -> Any:
        until = time.monotonic() + seconds
        while True:
            try:
                return asked(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() > until or any(map(_raylet_ended, nodes)):
                    raise
                time.sleep(LOOK_SECONDS)

    def noted(node: Any) -> None:
        nodes.append(node)
        start(node)

    Node.start_head_processes = noted  # type: ignore[method-assign]
    services.get_node = patient
    ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S = max(dashboard, seconds)
    try:
        yield nodes
    finally:
        Node.start_head_processes = start  # type: ignore[method-assign]
        services.get_node = asked
        ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S = dashboard


def logs() -> Path:
    """The folder with the logs of the Ray that this process started last."""
    from ray._common.utils import get_default_ray_temp_dir

    root = Path(get_default_ray_temp_dir())
    return max(root.glob(f"session_*_{os.getpid()}"), default=root) / "logs"
