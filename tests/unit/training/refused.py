"""A mistake on the command line of ``python -m training``."""

from __future__ import annotations

import pytest

from training.__main__ import main


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that is said of it on standard error, with exit code 2."""
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]
