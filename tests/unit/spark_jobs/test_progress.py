"""A long stage says how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from spark_jobs.progress import spark_stage


@dataclass
class StageInfo:
    numCompletedTasks: int  # noqa: N815
    numTasks: int  # noqa: N815


class Busy:
    """A Spark context with two stages at work and one that has just ended."""

    def statusTracker(self) -> Busy:  # noqa: N802
        return self

    def getActiveStageIds(self) -> list[int]:  # noqa: N802
        return [1, 2, 3]

    def getStageInfo(self, stage: int) -> StageInfo | None:  # noqa: N802
        return {1: StageInfo(3, 4), 2: StageInfo(0, 200)}.get(stage)


def test_a_long_stage_says_how_many_tasks_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    context: Any = Busy()
    with spark_stage("work", context, every_seconds=0.01):
        time.sleep(0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "▸ work"
    assert lines[1] == "  3 of 204 tasks done"
    assert lines[-1].startswith("✓ work")


def test_a_short_stage_says_nothing_between_its_start_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    context: Any = Busy()
    with spark_stage("work", context, every_seconds=60):
        pass
    assert len(capsys.readouterr().out.splitlines()) == 2
