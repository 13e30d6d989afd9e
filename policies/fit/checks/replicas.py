"""Replicas: where autoscaling may go, there is room at its highest."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import replace

from policies.fit.assigned import assigned
from policies.fit.demand import Actor, gpus_of, rooms_needed, sums
from policies.fit.misfit import Change, Misfit
from policies.fit.packing import TOLERANCE, packed
from policies.fit.place import Place
from policies.fit.size import Hosts, Room, Size


def replicas(place: Place) -> Iterator[Misfit]:
    if not place.on_ray:
        return
    for room, actors in assigned(place):
        yield from _in_rooms(place, room, actors) if place.is_cluster else _in_one(place, room, actors)
    yield from _on_hosts(place)


def _in_one(place: Place, room: Room, actors: Sequence[Actor]) -> Iterator[Misfit]:
    if not (_holds(room, actors, at_most=False) and not _holds(room, actors, at_most=True)):
        # What has no room from the start is the other checks' to say.
        return
    cpus = sum(each.most * each.cpus for each in actors)
    if cpus > room.cpus + TOLERANCE:
        asks = f"{' + '.join(sums(actors, at_most=True))} ask for {cpus:g} CPUs at their highest"
        got, expected = f"{room.name} has {room.cpus:g} for Ray", f"at least {cpus:g}"
    else:
        needed = gpus_of(actors, at_most=True)
        asking = [each for each in actors if each.gpus]
        asks = f"{' + '.join(f'{each.setting} {each.most} × {each.gpus:g}' for each in asking)} ask for {needed} GPUs"
        got, expected = f"{room.name} has {room.gpus}", f"at least {needed}"
    changes = place.grown(room, actors) or _fewer(place, room, actors)
    yield place.misfit("replicas", room.path, asks, got, expected, changes, otherwise="fewer replicas")


def _holds(room: Room, actors: Sequence[Actor], *, at_most: bool) -> bool:
    cpus = sum((each.most if at_most else each.least) * each.cpus for each in actors)
    return Size(room.cpus, 0, room.gpus).holds(Size(cpus, 0, gpus_of(actors, at_most=at_most)))


def _fewer(place: Place, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:
    """The highest number that there is room for, of as few deployments as may be."""
    changes: list[Change] = []
    found = list(actors)
    for index in sorted(range(len(found)), key=lambda at: -found[at].most * max(found[at].gpus, found[at].cpus)):
        each = found[index]
        if _holds(room, found, at_most=True):
            break

        def holds(most: int, at: int = index) -> bool:
            return _holds(room, [*found[:at], replace(found[at], most=most), *found[at + 1 :]], at_most=True)

        # The first number that there is no room for is one above the highest that there is.
        numbers = range(each.least, each.most + 1)
        most = max(each.least, each.least - 1 + bisect.bisect_left(numbers, True, key=lambda number: not holds(number)))
        found[index] = replace(each, most=most)
        changes.append(place.in_serving(each.highest, most))
    return changes if _holds(room, found, at_most=True) else ()


def _in_rooms(place: Place, room: Room, actors: Sequence[Actor]) -> Iterator[Misfit]:
    needed = rooms_needed(actors, room, place.object_store_mib(room), at_most=True)
    if needed > room.most:
        yield place.misfit(
            "replicas",
            room.path,
            f"{' + '.join(sums(actors, at_most=True))} need {needed} pods at their highest",
            f"there are at most {room.most} of {room.name}",
            f"at least {needed}",
            (Change("the RayService", f"{room.path}.maxReplicas", needed),),
        )


def _on_hosts(place: Place) -> Iterator[Misfit]:
    """All rooms at their most have machines, and a cluster that takes over from another one is beside it."""
    by_hosts: dict[str, list[Room]] = {}
    for room in place.rooms():
        if room.hosts is not None and room.hosts.instance is not None and room.hosts.free.holds(room.asks):
            by_hosts.setdefault(room.hosts.urn, []).append(room)
    for rooms in by_hosts.values():
        hosts = rooms[0].hosts
        if hosts is None:
            continue
        asks = [(room, room.most + (_beside(room) if place.is_cluster else 0)) for room in rooms]
        needed = _machines(hosts, asks)
        if needed > hosts.most:
            beside = ", with those of the cluster that takes over" if place.is_cluster else ""
            yield place.misfit(
                "replicas",
                rooms[0].path,
                f"{' + '.join(f'{count} × {room.name}' for room, count in asks)}{beside} need {needed} instances",
                f"{hosts.name} ({hosts.type_name}) has at most {hosts.most}",
                f"at least {needed}",
                (place.in_stack(f"{hosts.setting}.most", needed),),
            )


def _beside(room: Room) -> int:
    return room.least if room.serves else 1


def _machines(hosts: Hosts, asks: Sequence[tuple[Room, int]]) -> int:
    """The largest rooms first."""
    found = sorted(asks, key=lambda each: (each[0].asks.gpus, each[0].asks.cpus), reverse=True)
    return packed(((_amounts(room.asks), count) for room, count in found), _amounts(hosts.free))


def _amounts(size: Size) -> tuple[float, float, float]:
    return size.cpus, size.memory_mib, size.gpus
