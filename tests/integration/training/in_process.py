"""``python -m training`` without a process of its own, whose imports take longer than most of its commands."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.shell import INHERITED
from training.__main__ import main


def training(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """As :func:`tests.shell.training`: in a folder, where its default registry then is; ``more`` are variables."""
    said, erred = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        _variables(more),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(erred),
    ):
        code = main(list(arguments))
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), erred.getvalue())


@contextlib.contextmanager
def _variables(more: Mapping[str, str]) -> Iterator[None]:
    """Others are left as they are: what Ray and MLflow read is set once, when they are imported."""
    names = {*INHERITED, *more}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(more)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
