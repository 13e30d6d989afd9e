from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console import Arguments, UserError, run, stage

ROOT = Path(__file__).parents[2]


def test_a_stage_says_when_it_begins_what_it_is_at_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("count rows") as step:
        step.note("half of them")
        step.detail = "10 rows"
    begins, note, ends = capsys.readouterr().out.splitlines()
    assert begins == "▸ count rows"
    assert note == "  half of them"
    assert re.fullmatch(r"✓ count rows  \d+\.\d s  10 rows", ends)


def test_a_stage_that_fails_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), stage("count rows"):
        raise ValueError("no")
    assert capsys.readouterr().out.splitlines()[-1].startswith("✗ count rows")


def mistake() -> int:
    raise UserError("two\nlines")


def interruption() -> int:
    raise KeyboardInterrupt


def bug() -> int:
    raise ZeroDivisionError


def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mistake) == 2
    assert capsys.readouterr().err == "error: two lines\n"


def test_ctrl_c_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(interruption) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(bug)


def test_a_wrong_argument_is_a_mistake_like_any_other() -> None:
    with pytest.raises(UserError, match=r"unrecognized arguments: --fast \(see `thing --help`\)"):
        Arguments(prog="thing").parse_args(["--fast"])


CLOSE_THE_PIPE = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, {stream}.fileno())"
"""In a program: from then on nobody reads what it writes there."""


def program(*lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program that has all of ``console``, at its end."""
    text = "\n".join(["import os, sys", "from console import *", *lines])
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("command", ["say('a')", "sys.exit(run(lambda: say('a') or 0))"])
def test_output_that_nobody_reads_is_exit_code_141_and_no_traceback(command: str) -> None:
    ran = program(CLOSE_THE_PIPE.format(stream="sys.stdout"), command)
    assert (ran.returncode, ran.stderr) == (141, "")


def test_a_stage_that_fails_says_why_though_nobody_reads_the_output() -> None:
    ran = program(
        "def command():",
        "    with stage('count rows'):",
        f"        {CLOSE_THE_PIPE.format(stream='sys.stdout')}",
        "        raise UserError('no rows')",
        "sys.exit(run(command))",
    )
    assert (ran.returncode, ran.stderr) == (2, "error: no rows\n")


def test_a_mistake_is_exit_code_2_though_nobody_reads_of_it() -> None:
    ran = program(
        CLOSE_THE_PIPE.format(stream="sys.stderr"),
        "def command():",
        "    raise UserError('no rows')",
        "sys.exit(run(command))",
    )
    assert (ran.returncode, ran.stderr) == (2, "")


@pytest.mark.parametrize("encoding", ["ascii", "ascii:surrogateescape", "latin-1"])
def test_what_a_terminal_cannot_show_is_escaped(encoding: str) -> None:
    ran = program("sys.exit(run(lambda: say('✓ use.csv') or 0))", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "\\u2713 use.csv\n", "")


def test_who_chose_what_becomes_of_it_keeps_that() -> None:
    ran = program("sys.exit(run(lambda: say('✓ use.csv') or 0))", PYTHONIOENCODING="ascii:replace")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "? use.csv\n", "")
