"""What ``serve run serve.config`` and a cluster call."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

import serve
from serve.settings import SettingsError


def ray(*, runs: bool) -> types.ModuleType:
    module = types.ModuleType("ray")
    module.is_initialized = lambda: runs  # type: ignore[attr-defined]
    return module


def test_a_mistake_ends_the_command_with_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray(runs=False))
    with pytest.raises(SystemExit) as ended:
        serve.config({"settings": str(tmp_path / "none.yaml")})
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_mistake_in_the_task_of_a_cluster_is_raised_for_serve_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray(runs=True))
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read"):
        serve.config({"settings": str(tmp_path / "none.yaml")})
