"""GPUs: how many, how much memory each has, and which code runs on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from policies.fit.assigned import assigned
from policies.fit.demand import Actor, gpu_memory_of_each, gpus_of
from policies.fit.instances import Gpu
from policies.fit.misfit import Misfit
from policies.fit.packing import TOLERANCE
from policies.fit.place import Place
from policies.fit.size import Room


def gpus(place: Place) -> Iterator[Misfit]:
    for room, actors in assigned(place):
        asking = [each for each in actors if each.gpus > 0]
        if not asking:
            continue
        yield from _number(place, room, asking, actors)
        if room.gpu is not None:
            for each in asking:
                yield from _kind(place, room, room.gpu, each, actors)


def _number(place: Place, room: Room, asking: Sequence[Actor], actors: Sequence[Actor]) -> Iterator[Misfit]:
    if place.is_cluster:
        needed = max(math.ceil(each.gpus - TOLERANCE) for each in asking)
    else:
        needed = gpus_of(asking, at_most=False)
    if needed > room.gpus:
        yield place.misfit(
            "gpus",
            room.path,
            f"{' + '.join(f'{each.setting} {each.least} × {each.gpus:g}' for each in asking)} ask for {needed} GPUs",
            f"{room.name} has {room.gpus or 'none'}",
            f"at least {needed}",
            place.grown(room, actors),
            otherwise=f"serve {asking[0].setting} on CPUs, or where the stack has GPUs (ecs.gpus, eks.gpus)",
        )


def _kind(place: Place, room: Room, gpu: Gpu, each: Actor, actors: Sequence[Actor]) -> Iterator[Misfit]:
    hosts = room.hosts
    name = hosts.type_name if hosts else room.name
    needed = gpu_memory_of_each(each)
    if needed > gpu.memory_mib:
        yield place.misfit(
            "gpus",
            room.path,
            f"{each.setting} asks for {needed:.0f} MiB of each GPU",
            f"the {gpu.model} of {name} has {gpu.memory_mib} MiB",
            f"at least {math.ceil(needed)} MiB",
            place.grown(room, actors),
            otherwise=f"more gpus for {each.setting}, among which it is divided",
        )
    if each.capability is not None and each.capability != gpu.capability:
        yield place.misfit(
            "gpus",
            room.path,
            f"{each.setting} is built for compute capability {each.capability}",
            f"the {gpu.model} of {name} has {gpu.capability}",
            f"a GPU of {each.capability}",
            place.grown(room, actors),
            otherwise=f"build {each.setting} for {gpu.capability}",
        )
