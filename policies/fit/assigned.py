"""Which replicas Ray places in which rooms."""

from __future__ import annotations

from collections.abc import Sequence

from policies.fit.demand import Actor, actors
from policies.fit.footprint import FUNCTION_MIB
from policies.fit.place import Place
from policies.fit.size import Room
from serve.settings import Settings

MIB = 2**20


def asked(place: Place) -> Sequence[Actor]:
    """What the settings ask of the place as a whole."""
    if place.on_ray:
        return actors(place.settings)
    return _of_function(place, place.settings)


def assigned(place: Place) -> Sequence[tuple[Room, Sequence[Actor]]]:
    """Each room where replicas are placed, with those: of a cluster, replicas with GPUs where those are."""
    rooms = [each for each in place.rooms() if each.serves]
    found = asked(place)
    if not place.is_cluster:
        return [(room, found) for room in rooms[:1]]
    return [(room, [each for each in found if _home(rooms, each) is room]) for room in rooms]


def _home(rooms: Sequence[Room], actor: Actor) -> Room | None:
    """The first of the kind; where there is none, the first of all."""
    return next((room for room in rooms if (room.gpus > 0) == (actor.gpus > 0)), next(iter(rooms), None))


def served_by_function(place: Place) -> str | None:
    """The model whose version's folder MODEL_URI names: one of the settings' that is a part of its path."""
    parts = str(place.variable("MODEL_URI").get(default="")).partition("://")[2].split("/")
    return next((name for name in place.settings.models if name in parts), None)


def _of_function(place: Place, settings: Settings) -> Sequence[Actor]:
    """One process; of several models, where it isn't known which it has, the largest."""
    name = served_by_function(place)
    models = {name: settings.models[name]} if name is not None else settings.models
    if not models:
        return []
    largest = max(models, key=lambda each: models[each].needs.memory_bytes)
    needed = models[largest].needs.memory_bytes / MIB
    return [Actor(f"models.{largest}", 0, FUNCTION_MIB + needed, 1, 1, gpus=models[largest].gpus)]
