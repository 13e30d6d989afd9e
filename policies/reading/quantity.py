"""Quantities as Kubernetes and Azure write them.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

QUANTITY = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*$")
FACTORS: Mapping[str, float] = {
    "m": 1e-3,
    "": 1,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def quantity(value: Any) -> float | None:
    """Of CPUs, or of bytes; None of anything else."""
    found = QUANTITY.match(str(value)) if isinstance(value, str | int | float) else None
    return float(found[1]) * FACTORS[found[2]] if found and found[2] in FACTORS else None


def cpus_of(value: Any) -> float:
    """``500m`` is half of one; 0 for what is no quantity."""
    return quantity(value) or 0.0


def mib_of(value: Any) -> float:
    """``3Gi`` is 3072; 0 for what is no quantity."""
    return (quantity(value) or 0.0) / 2**20
