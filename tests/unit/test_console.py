from __future__ import annotations

import re

import pytest

from console import Arguments, UserError, run, stage


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
