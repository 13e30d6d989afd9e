"""The process in which schemas are tried, where it ends otherwise than it should."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from serve.llm.deployed import schema_check
from serve.llm.deployed.schemas import Part, faults
from serve.llm.huggingface.grammars import held


class Panic(BaseException):
    """As llguidance's, which is no ``Exception``."""


def _parts() -> tuple[Part, ...]:
    return tuple(held("schema", {"type": "object"}, strict=False))


def test_a_panic_is_the_grammar_s_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def panics(_: str) -> str:
        raise Panic

    monkeypatch.setitem(schema_check.CHECKS, "grammar", panics)
    # This process keeps its own.
    limits = SimpleNamespace(setrlimit=lambda *_: None, RLIMIT_CPU=0, RLIMIT_AS=0, RLIMIT_CORE=0)
    monkeypatch.setattr(schema_check, "resource", limits)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([["grammar", "start: /a/"]])))
    schema_check.main()
    assert json.loads(capsys.readouterr().out) == "it can't be compiled"


@pytest.mark.parametrize("missing", [0, 1])
def test_one_that_is_killed_has_refused_only_what_it_had_not_passed(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    parts = _parts()
    said = '""\n' * (len(parts) - missing)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, said, ""))
    assert (faults(parts) is None) == (missing == 0)
