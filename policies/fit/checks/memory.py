"""Memory: Ray's processes, and as many replicas as it could come to place in one node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from policies.fit.assigned import assigned
from policies.fit.demand import Actor, of_ray, placed
from policies.fit.demand import memory as taken_in
from policies.fit.footprint import MOST_OF_MEMORY
from policies.fit.misfit import Misfit
from policies.fit.place import Place
from policies.fit.size import Room


def memory(place: Place) -> Iterator[Misfit]:
    """Estimated: the figures are those of ``policies.fit.footprint``, and the models' own ``needs``."""
    if not place.on_ray:
        yield from _function(place)
        return
    heads: list[tuple[Room, Sequence[Actor]]] = [(room, ()) for room in place.rooms() if not room.serves]
    for room, actors in [*heads, *assigned(place)]:
        taken = taken_in(actors, room, place.object_store_mib(room))
        if taken <= MOST_OF_MEMORY * room.memory_mib:
            continue
        counts = placed(actors, room, place.object_store_mib(room))
        parts = [f"{each.setting} {count} × {each.memory_mib:.0f} MiB" for each, count in counts if count]
        yield place.misfit(
            "memory",
            room.path,
            f"{' + '.join([*parts, f'Ray {of_ray(room)} MiB'])} ask for {taken:.0f} MiB",
            f"{room.name} has {room.memory_mib:.0f} MiB, of which Ray uses {MOST_OF_MEMORY:.0%}",
            f"at least {math.ceil(taken / MOST_OF_MEMORY)} MiB",
            place.grown(room, actors) if actors else (),
            otherwise=f"fewer replicas, or less for each: no {place.kind} has as much"
            if actors
            else "HEAD_MEMORY_MIB in infra/aws/ray_service.py",
        )


def _function(place: Place) -> Iterator[Misfit]:
    for room, actors in assigned(place):
        taken = sum(each.memory_mib for each in actors)
        if taken > room.memory_mib:
            yield place.misfit(
                "memory",
                room.path,
                f"{actors[0].setting} and Python ask for {taken:.0f} MiB",
                f"{room.name} has {room.memory_mib:.0f} MiB",
                f"at least {math.ceil(taken)} MiB",
                place.grown(room, actors),
                otherwise="serve it by the ingress: no function has as much",
            )
