"""A place in words: what is asked of it, what it has, and what is left."""

from __future__ import annotations

from collections.abc import Iterator

from policies.fit.assigned import assigned
from policies.fit.demand import gpus_of, memory
from policies.fit.engine import Held
from policies.fit.size import Room

NAME = 27


def line(each: Held) -> Iterator[str]:
    """One a room; why there is none, where it can't be read."""
    place = each.place
    if any(misfit.check == "settings" for misfit in each.misfits):
        yield f"{place.label:<{NAME}}  can't be read"
        return
    found = {room.name: actors for room, actors in assigned(place)}
    for room in place.rooms():
        actors = found.get(room.name, ())
        if place.on_ray:
            taken = memory(actors, room, place.object_store_mib(room))
        else:
            taken = sum(one.memory_mib for one in actors)
        cpus = sum(one.most * one.cpus for one in actors)
        parts = [f"{cpus:g} of {room.cpus:g} CPUs"] if place.on_ray and not place.is_cluster else []
        parts.append(f"{taken:.0f} of {room.memory_mib:.0f} MiB, {_left(room.memory_mib - taken)}")
        if room.gpus:
            gpus = gpus_of(actors, at_most=True)
            parts.append(f"{gpus} of {room.gpus} {room.gpu.model if room.gpu else 'GPU'}")
        yield f"{place.label:<{NAME}}  {room.name}: {'; '.join(parts)}; {_number(room)}"


def _left(mib: float) -> str:
    return f"{mib:.0f} left" if mib >= 0 else f"{-mib:.0f} too many"


def _number(room: Room) -> str:
    count = f"{room.least} to {room.most}" if room.least != room.most else f"{room.most}"
    if room.hosts is None:
        return count
    return f"{count} on at most {room.hosts.most} × {room.hosts.type_name}"
