"""How many replicas: as many as bring the busy share of each down to the target.

Serve's own policy counts running requests. Behind the coalescing of requests there are never more
than a few calls, however many clients wait, and past Serve's wrapper it sees none at all
(``serve.direct``); so each replica tells how much of its time it is at work, and this policy goes by
that. The Kubernetes HorizontalPodAutoscaler's rule: ``desired = ceil(current × busy / target)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BUSY = "busy"
TARGET = 0.7
TOLERANCE = 0.1
"""No change while busy / target is within 1 ± this, as in Kubernetes: a target is never met exactly."""


def desired_replicas(current: int, busy: Mapping[Any, float], lowest: int, highest: int) -> int:
    """``busy``: the busy share of each replica that told, from 0 to 1."""
    if current == 0 or not busy:
        return max(lowest, min(highest, current))
    ratio = sum(busy.values()) / len(busy) / TARGET
    wanted = current if abs(ratio - 1) <= TOLERANCE else math.ceil(current * ratio)
    return max(lowest, min(highest, wanted))


def by_busy_share(context: Any) -> tuple[int, dict[str, Any]]:
    """A custom autoscaling policy of Ray Serve."""
    busy = (context.aggregated_metrics or {}).get(BUSY, {})
    wanted = desired_replicas(
        context.current_num_replicas,
        busy,
        context.capacity_adjusted_min_replicas,
        context.capacity_adjusted_max_replicas,
    )
    return wanted, {}
