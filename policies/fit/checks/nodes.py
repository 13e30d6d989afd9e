"""Nodes: an instance of the group has room for one task, or for one pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.fit.assigned import assigned
from policies.fit.demand import Actor
from policies.fit.misfit import Misfit
from policies.fit.place import Place
from policies.fit.size import Hosts, Room, Size


def nodes(place: Place) -> Iterator[Misfit]:
    if not place.has_hosts:
        return
    found = {room.name: actors for room, actors in assigned(place)}
    for room in place.rooms():
        hosts = room.hosts
        if hosts is None:
            yield place.misfit(
                "nodes",
                room.path,
                f"{room.name} asks for {_shown(room.asks)}",
                "no group of nodes takes it",
                "a group whose labels and taints it takes, with GPUs where it asks for them",
                (),
                otherwise=f"give the stack {'eks.gpus' if room.gpus else 'eks.nodes'}",
            )
        elif hosts.instance is None:
            yield place.misfit(
                "nodes",
                room.path,
                f"{room.name} asks for {_shown(room.asks)}",
                f"what {hosts.type_name} has is not known here",
                "an instance type of policies/fit/instances.py",
                place.grown(room, found.get(room.name, ())),
                otherwise="another instance type, or its line there",
            )
        elif not hosts.free.holds(room.asks):
            yield _too_small(place, room, hosts, found.get(room.name, ()))


def _too_small(place: Place, room: Room, hosts: Hosts, actors: Sequence[Actor]) -> Misfit:
    return place.misfit(
        "nodes",
        room.path,
        f"{room.name} asks for {_shown(room.asks)}",
        f"an instance of {hosts.name} ({hosts.type_name}) has {_shown(hosts.free)} left for it",
        "no more than that",
        place.grown(room, actors),
        otherwise="fewer cpus or gpus for each replica: no instance has as many",
    )


def _shown(size: Size) -> str:
    gpus = f", {size.gpus:g} GPUs" if size.gpus else ""
    return f"{size.cpus:g} CPUs, {size.memory_mib:.0f} MiB{gpus}"
