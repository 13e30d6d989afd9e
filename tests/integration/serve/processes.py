"""Processes as Linux shows them: who descends from whom, their commands, and where they listen."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")

PATIENCE_SECONDS = 240
END_SECONDS = 20
"""A process that is tied to another's life ends after it, and not with it."""


def command(pid: int) -> list[str]:
    """The command line of a process; empty if it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def titled(root: int, title: str) -> list[int]:
    """Of a process and its descendants those whose command line begins so, as Ray's processes write who they are."""
    return [pid for pid in family(root) if " ".join(command(pid)).startswith(title)]


def only(root: int, title: str) -> int:
    """The one that :func:`titled` finds. What a process at work is called can't be read at every moment."""
    until = time.monotonic() + PATIENCE_SECONDS
    while len(found := titled(root, title)) != 1:
        assert time.monotonic() < until, [" ".join(command(pid)) for pid in family(root)]
        time.sleep(0.1)
    return found[0]


def with_argument(argument: str) -> list[int]:
    """The running processes that were given this argument."""
    pids = (int(folder.name) for folder in PROC.glob("[0-9]*"))
    return [pid for pid in pids if argument in command(pid)]


def left_with(argument: str) -> list[int]:
    """Of those that were given this argument the ones that don't end by themselves."""
    until = time.monotonic() + END_SECONDS
    while (found := with_argument(argument)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def haproxy_config(root: int) -> str:
    """The configuration file of the HAProxy that runs below a process: it names that HAProxy alone."""
    (found,) = {word for pid in family(root) for word in command(pid) if word.endswith("/haproxy.cfg")}
    return found


def in_haproxy_config(root: int, pattern: str, times: int = 1) -> set[str]:
    """What a pattern finds there, once there are so many.

    Ray writes the file anew now and then: it is empty for a moment, and then without our changes for another.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        config = Path(haproxy_config(root)).read_text()
        if len(found := set(re.findall(pattern, config))) == times:
            return found
        assert time.monotonic() < until, config
        time.sleep(0.1)


def listening(root: int) -> dict[str, str]:
    """Address → process, for every TCP socket that a process or its descendants listen on."""
    sockets: dict[str, str] = {}
    for pid in family(root):
        for file in (PROC / str(pid) / "fd").glob("*"):
            try:
                sockets[str(file.readlink())] = " ".join(command(pid))[:80]
            except OSError:
                continue
    shown = subprocess.run(["ss", "-ltneH"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in shown.splitlines():
        inode = next(word.removeprefix("ino:") for word in line.split() if word.startswith("ino:"))
        if owner := sockets.get(f"socket:[{inode}]"):
            found[line.split()[3]] = owner
    return found


def listening_also_on(root: int, *addresses: str) -> dict[str, str]:
    """What :func:`listening` finds once these are among it.

    Just after the start one HAProxy takes over from another, and for a moment neither's socket is found.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while not set(addresses) <= (found := listening(root)).keys():
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found
