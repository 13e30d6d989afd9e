from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main


def test_without_wrk_the_ingress_benchmark_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["ingress"]) == 2
    assert capsys.readouterr().err == "error: wrk is not installed: apt-get install wrk\n"


def test_a_view_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lightgbm", "--view", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: no contract at nowhere")
