"""Ports for servers that a benchmark or a test starts."""

from __future__ import annotations

import random
import socket

PORTS = range(30_000, 32_768)
"""Above those that the ingress gives itself (``serve.ports``), below those that Linux gives to clients: one of theirs
may be a client's before the server is up."""

_given: list[socket.socket] = []
"""What keeps other processes from giving the same ports: many seconds pass before a server listens. Each is a name in
Linux's abstract namespace, which ends with this process."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, another one at each call, also of other processes.

    Raises:
        LookupError: all are taken.
    """
    for port in random.sample(PORTS, len(PORTS)):
        if _claimed(port) and _free(port):
            return port
    raise LookupError(f"no port is free from {PORTS.start} to {PORTS.stop - 1}")


def _claimed(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0{__name__}.{port}")
    except OSError:
        claim.close()
        return False
    _given.append(claim)
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
