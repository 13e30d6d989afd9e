"""A block of ports for the servers behind the ingress, which no other Serve of this machine uses.

Ray's defaults are fixed, and it binds the fallback proxy's (8500) with ``SO_REUSEPORT``: two Serves on
one machine then both listen there, and what one's HAProxy hands to its fallback the other may answer.

Errors::

    UserError
    └── NoPortsLeft    every block is taken
"""

from __future__ import annotations

import os
import socket

from console import UserError

FIRST, LAST = 20_000, 30_000
"""Below the ports that Linux gives to clients, and below Ray's own default ranges."""

SIZE = 128
SINGLE = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
)
REPLICAS = (
    ("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"),
    ("RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT", "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT"),
)
"""Ranges: what is left of the block, in equal parts. The upper bound is no part of a range."""


class NoPortsLeft(UserError):
    """Every block is taken."""


def reserve() -> socket.socket:
    """Take a free block and tell Ray of it in the environment, where the user has not said otherwise.

    The block is taken as long as the socket that is returned stays open: it is bound to the block's
    first port, listens to nothing, and ends with this process.

    Raises:
        NoPortsLeft: there is no block whose ports are all free.
    """
    for first in range(FIRST, LAST, SIZE):
        held = socket.socket()
        if _free(held, first) and all(_free(None, port) for port in range(first + 1, first + SIZE)):
            for variable, value in _block(first).items():
                os.environ.setdefault(variable, str(value))
            return held
        held.close()
    raise NoPortsLeft(f"no {SIZE} ports in a row are free between {FIRST} and {LAST}: stop other Serves")


def _block(first: int) -> dict[str, int]:
    ranges = first + 1 + len(SINGLE)
    size = (first + SIZE - ranges) // len(REPLICAS)
    found = dict(zip(SINGLE, range(first + 1, ranges), strict=True))
    for index, (lowest, highest) in enumerate(REPLICAS):
        found[lowest] = ranges + index * size
        found[highest] = ranges + (index + 1) * size
    return found


def _free(held: socket.socket | None, port: int) -> bool:
    probe = held or socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    finally:
        if held is None:
            probe.close()
    return True
