"""CPUs: the replicas that are there from the start have room."""

from __future__ import annotations

from collections.abc import Iterator

from policies.fit.assigned import assigned
from policies.fit.demand import sums
from policies.fit.misfit import Misfit
from policies.fit.packing import TOLERANCE
from policies.fit.place import Place


def cpu(place: Place) -> Iterator[Misfit]:
    """Of one node, that all of them fit in it; of a cluster, that each fits in one of its nodes."""
    if not place.on_ray:
        return
    for room, actors in assigned(place):
        groups = [[each] for each in actors] if place.is_cluster else [list(actors)]
        for group in groups:
            needed = sum((1 if place.is_cluster else each.least) * each.cpus for each in group)
            if needed <= room.cpus + TOLERANCE:
                continue
            asks = group[0].times(1) if place.is_cluster else " + ".join(sums(group, at_most=False))
            yield place.misfit(
                "cpu",
                room.path,
                f"{asks} ask for {needed:g} CPUs",
                f"{room.name} has {room.cpus:g} for Ray",
                f"at least {needed:g}",
                place.grown(room, actors),
                otherwise=f"fewer replicas, or fewer cpus for each: no {place.kind} has as many",
            )
