"""How many replicas a busy share asks for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serve.autoscaling import TARGET, by_busy_share, desired_replicas
from serve.placement import busy as module
from serve.placement.busy import BusyTime


@pytest.mark.parametrize(
    ("current", "busy", "expected"),
    [
        (1, [1.0], 2),
        (2, [1.0, 1.0], 3),
        (4, [TARGET] * 4, 4),
        (4, [TARGET * 1.05] * 4, 4),
        (4, [TARGET * 0.95] * 4, 4),
        (4, [0.1] * 4, 1),
        (4, [0.0] * 4, 1),
        (8, [1.0] * 8, 8),
        (1, [], 1),
        (0, [], 1),
    ],
)
def test_replicas_follow_the_busy_share_within_their_bounds(current: int, busy: list[float], expected: int) -> None:
    assert desired_replicas(current, dict(enumerate(busy)), lowest=1, highest=8) == expected


def test_serve_s_policy_reads_what_the_replicas_told() -> None:
    context = SimpleNamespace(
        aggregated_metrics={"busy": {"a": 1.0, "b": 1.0}},
        current_num_replicas=2,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=5,
    )
    assert by_busy_share(context) == (3, {})


def test_the_busy_share_is_the_time_at_work_since_it_was_last_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    busy = BusyTime(workers=2)
    now = 107.0
    assert busy.share() == 0.0
    with busy:
        now = 110.0
    now = 111.0
    assert busy.share() == 0.375
    now = 112.0
    assert busy.share() == 0.0
