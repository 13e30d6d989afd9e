"""What the serving settings ask a node for: Ray's actors, and what they take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from policies.fit.footprint import HEAD_MIB, MOST_OF_MEMORY, NODE_MIB, REPLICA_MIB
from policies.fit.llm import LOADING_BYTES
from policies.fit.packing import TOLERANCE, packed
from policies.fit.size import Room, Size
from serve.settings import Autoscaling, Deployed, ModelSettings, Settings

MIB = 2**20
GIB_IN_MIB = 1024
STARTED_MIB = 400
"""What is in use when Ray counts what memory it has."""


@dataclass(frozen=True)
class Actor:
    """The replicas of one deployment. ``setting``: its section in the serving settings.

    ``declared_mib``: what Ray must find free. ``gpu_memory_mib``: of all its GPUs together.
    """

    setting: str
    cpus: float
    memory_mib: float
    least: int
    most: int
    declared_mib: float = 0
    gpus: float = 0
    gpu_memory_mib: float = 0
    capability: str | None = None
    autoscaled: bool = False

    def count(self, *, at_most: bool) -> int:
        return self.most if at_most else self.least

    def times(self, count: int) -> str:
        """``models.a 2 × 0.5``, for a sum of CPUs."""
        return f"{self.setting} {count} × {self.cpus:g}"

    @property
    def highest(self) -> str:
        """The setting that says how many there may be."""
        return f"{self.setting}.{'autoscaling.highest' if self.autoscaled else 'replicas'}"


def actors(settings: Settings) -> list[Actor]:
    """The ingress first, then each model that has processes of its own, then the engines of language models."""
    ingress = settings.ingress
    least, most = _between(ingress.replicas, ingress.autoscaling)
    inline = settings.inline_memory_bytes / MIB
    scaled = ingress.autoscaling is not None
    found = [Actor("ingress", ingress.cpus, REPLICA_MIB + inline, least, most, inline, autoscaled=scaled)]
    found += [_of(name, model) for name, model in settings.models.items() if model.placement == "replica"]
    return found + [_engine(name, each) for name, each in settings.backends.items() if isinstance(each, Deployed)]


def _of(name: str, model: ModelSettings) -> Actor:
    least, most = _between(model.replicas, model.autoscaling)
    needed = model.needs.memory_bytes / MIB
    return Actor(
        f"models.{name}",
        model.cpus,
        REPLICA_MIB + needed,
        least,
        most,
        needed,
        model.gpus,
        (model.needs.gpu_memory_gib or 0) * GIB_IN_MIB,
        model.needs.compute_capability,
        model.autoscaling is not None,
    )


def _engine(name: str, backend: Deployed) -> Actor:
    """Where its memory isn't said, the estimate for one on GPUs is taken."""
    needs = backend.needs
    return Actor(
        f"backends.{name}",
        backend.cpus,
        REPLICA_MIB + (needs.memory_bytes or LOADING_BYTES) / MIB,
        backend.replicas,
        backend.replicas,
        needs.memory_bytes / MIB,
        backend.gpus_in_all,
        (needs.gpu_memory_gib or 0) * GIB_IN_MIB,
        needs.compute_capability,
    )


def _between(replicas: int, autoscaling: Autoscaling | None) -> tuple[int, int]:
    return (autoscaling.lowest, autoscaling.highest) if autoscaling else (replicas, replicas)


@dataclass(frozen=True)
class Demand:
    """What one room must have for all of the actors at their most. ``gpu_memory_mib``: of each GPU."""

    cpus: float
    memory_mib: float
    gpus: int
    gpu_memory_mib: float
    capabilities: frozenset[str]


def together(found: Sequence[Actor], room: Room, object_store_mib: float) -> Demand:
    """For a place whose only room has all of them."""
    return Demand(
        sum(each.most * each.cpus for each in found),
        memory(found, replace(room, cpus=math.inf, gpus=10**6), object_store_mib) / MOST_OF_MEMORY,
        gpus_of(found, at_most=True),
        max((gpu_memory_of_each(each) for each in found), default=0),
        frozenset(each.capability for each in found if each.capability is not None),
    )


def holds(found: Sequence[Actor], room: Room, object_store_mib: float) -> bool:
    """Whether a place's only room has all of them at their most."""
    needed = together(found, room, object_store_mib)
    return Size(room.cpus, room.memory_mib, room.gpus).holds(Size(needed.cpus, needed.memory_mib, needed.gpus))


def gpus_of(found: Sequence[Actor], *, at_most: bool) -> int:
    """Whole devices: replicas with shares of one share it as far as they fit, others have theirs alone."""
    shares = sorted((each for each in found if 0 < each.gpus < 1), key=lambda each: each.gpus, reverse=True)
    whole = sum(math.ceil(each.gpus) * each.count(at_most=at_most) for each in found if each.gpus >= 1)
    return whole + packed((([each.gpus], each.count(at_most=at_most)) for each in shares), [1])


def gpu_memory_of_each(actor: Actor) -> float:
    """MiB that each of the GPUs must have. A replica with half of one has half of its memory."""
    return actor.gpu_memory_mib / actor.gpus if actor.gpus else 0


def placed(found: Sequence[Actor], room: Room, object_store_mib: float) -> list[tuple[Actor, int]]:
    """How many of each Ray could come to place in one room, those with the most memory for a CPU first: it goes by
    CPUs, GPUs and declared memory alone."""
    counts = []
    cpus, gpus, free = room.cpus, float(room.gpus), declarable(room, object_store_mib)
    for each in sorted(found, key=lambda each: each.memory_mib / max(each.cpus, TOLERANCE), reverse=True):
        shares = [left / share for left, share in ((cpus, each.cpus), (gpus, each.gpus)) if share > 0]
        count = min([each.most, *(math.floor(share + TOLERANCE) for share in shares if math.isfinite(share))])
        if each.declared_mib and not room.head:
            # In a cluster Ray goes on to the next node. One that is too large for any is counted, so that it is seen.
            count = min(count, max(1, math.floor(free / each.declared_mib + TOLERANCE)))
        counts.append((each, count))
        cpus, gpus, free = cpus - count * each.cpus, gpus - count * each.gpus, free - count * each.declared_mib
    return counts


def memory(found: Sequence[Actor], room: Room, object_store_mib: float) -> float:
    """MiB at the most that is in use in one room."""
    counts = placed(found, room, object_store_mib)
    taken = of_ray(room) + sum(count * each.memory_mib for each, count in counts)
    declared = sum(count * each.declared_mib for each, count in counts)
    # Ray has for declared memory what the object store leaves, whether that is used or not.
    return max(taken, declared + object_store_mib + STARTED_MIB if declared else 0)


def of_ray(room: Room) -> int:
    """MiB of Ray's own processes in a room."""
    return NODE_MIB + (HEAD_MIB if room.head else 0)


def rooms_needed(found: Sequence[Actor], room: Room, object_store_mib: float, *, at_most: bool) -> int:
    """How many rooms hold the replicas; those that fit in none are left out."""
    largest = sorted(found, key=lambda each: (each.gpus, each.cpus), reverse=True)
    things = (([each.cpus, each.gpus, each.declared_mib], each.count(at_most=at_most)) for each in largest)
    return packed(things, [room.cpus, room.gpus, declarable(room, object_store_mib)])


def declarable(room: Room, object_store_mib: float) -> float:
    """MiB that Ray has for declared memory."""
    return room.memory_mib - object_store_mib - STARTED_MIB


def sums(found: Sequence[Actor], *, at_most: bool) -> Iterator[str]:
    for each in found:
        yield each.times(each.count(at_most=at_most))
