"""What Fargate sells. Light to import: the stacks' settings are held against it too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from policies.reading.amounts import whole

MEMORY: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16_385, 1024),
    4096: range(8192, 30_721, 1024),
    8192: range(16_384, 61_441, 4096),
    16_384: range(32_768, 122_881, 8192),
}
"""CPU units → MiB that Fargate takes with them.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html"""

CPUS = ", ".join(map(str, MEMORY))

UNITS = 1024
"""Of CPU for a vCPU, and MiB for a GB, as Fargate has it."""

LARGE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(vcpu|gb)\s*", re.IGNORECASE | re.ASCII)


def cpu_units(value: Any) -> int | None:
    """1024 of ``1024``, and of ``1 vCPU``; None of anything else."""
    return _units(value, "vcpu")


def memory_mib(value: Any) -> int | None:
    """2048 of ``2048``, and of ``2 GB``; None of anything else."""
    return _units(value, "gb")


def memory_of(cpu: int) -> str:
    """The MiB that it takes with ``cpu``, in words."""
    found = MEMORY[cpu]
    if isinstance(found, range):
        return f"{found.start} to {found[-1]} in steps of {found.step}"
    return f"{', '.join(map(str, found[:-1]))} or {found[-1]}"


def _units(value: Any, unit: str) -> int | None:
    found = LARGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return whole(value)
    return whole(float(found[1]) * UNITS) if found[2].lower() == unit else None
