"""Become HAProxy, tied to loopback and to the life of the process that started it.

Ray runs this file in HAProxy's place: ``python -I -S haproxy_exec.py HAPROXY ARGUMENTS…``. It
imports nothing but the standard library, because Ray starts it anew at every change of replicas.
"""

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
ANY_ADDRESS = re.compile(r"^(\s*bind )\*?:(\d+)", re.MULTILINE)


def on_loopback(config: str) -> str:
    """HAProxy's configuration with every ``bind :PORT`` and ``bind *:PORT`` on 127.0.0.1."""
    return ANY_ADDRESS.sub(r"\g<1>127.0.0.1:\2", config)


def main(arguments: list[str]) -> None:
    haproxy, loopback, *rest = arguments
    parent = os.getppid()
    # Without this HAProxy outlives a Ray that is killed, keeps the port and answers 404 there.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the process that started HAProxy is gone")
    if loopback == "loopback" and "-f" in rest:
        file = Path(rest[rest.index("-f") + 1])
        file.write_text(on_loopback(file.read_text(encoding="utf-8")), encoding="utf-8")
    os.execv(haproxy, [haproxy, *rest])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
