"""KMS keys and secrets."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import Charge, Surroundings, always, used
from policies.node import Resource

BILLED_ROTATIONS = 2
"""The first two versions that a rotation adds are billed like a key; later ones no more."""


def key(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    rotations = BILLED_ROTATIONS if resource.get("enableKeyRotation", False) else 0
    yield Charge(f"the key{' and its first rotations' if rotations else ''}", "kms.key", 1, 1 + rotations)
    yield used(f"{around.usage.key_requests:,.10g} requests", "kms.request", around.usage.key_requests)


def secret(_resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """Who looks for changes of it pays for that: see the services."""
    yield always("the secret", "secret", 1)
