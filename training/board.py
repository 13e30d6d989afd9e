"""Where Ray Train's controller pins what rank 0 reported, and the driver reads it.

An actor's process imports the module of its class: this one has no torch.
"""

from __future__ import annotations

from typing import Any

import ray


@ray.remote(num_cpus=0)
class Board:
    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    def pin(self, report: dict[str, Any]) -> None:
        self.reports.append(report)

    def since(self, seen: int) -> list[dict[str, Any]]:
        return self.reports[seen:]
