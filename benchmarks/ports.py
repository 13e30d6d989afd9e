"""Ports for servers that a benchmark or a test starts."""

from __future__ import annotations

import random
import socket

PORTS = range(30_000, 32_768)
"""Above those that the ingress gives itself (``serve.ports``), below those that Linux gives to clients: one of theirs
may be a client's before the server is up."""

_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, another one at each call.

    Raises:
        LookupError: all are taken.
    """
    for port in random.sample(PORTS, len(PORTS)):
        if port not in _given and _free(port):
            _given.add(port)
            return port
    raise LookupError(f"no port is free from {PORTS.start} to {PORTS.stop - 1}")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
