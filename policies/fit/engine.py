"""Every check of every place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_policy.proxy import UnknownValueError

from policies.fit.checks import CHECKS
from policies.fit.misfit import Misfit
from policies.fit.place import SERVING, Place
from policies.fit.places import PLACES
from policies.node import Stack
from serve.settings import SettingsError


@dataclass(frozen=True)
class Held:
    """A place and what doesn't fit in it. ``unknown``: the first value without which a check couldn't be held."""

    place: Place
    misfits: tuple[Misfit, ...]
    unknown: UnknownValueError | None = None


def held(stack: Stack) -> Iterator[Held]:
    """Raises:
    UnknownValueError: it isn't known whether something is a place. Those of which it is come before.
    """
    unknown: UnknownValueError | None = None
    for find in PLACES:
        try:
            for place in find(stack):
                yield _held(place)
        except UnknownValueError as error:
            unknown = unknown or error
    if unknown is not None:
        raise unknown


def fit(stack: Stack) -> Iterator[Misfit]:
    """What doesn't fit.

    Raises:
        UnknownValueError: something can't be held, since a value isn't known. What can be comes before.
    """
    unknown: UnknownValueError | None = None
    for each in held(stack):
        yield from each.misfits
        unknown = unknown or each.unknown
    if unknown is not None:
        raise unknown


def _held(place: Place) -> Held:
    found: list[Misfit] = []
    unknown: UnknownValueError | None = None
    try:
        _ = place.settings
    except SettingsError as error:
        return Held(place, (_unreadable(place, error),))
    except UnknownValueError as error:
        return Held(place, (), error)
    for check in CHECKS.values():
        try:
            found += check(place)
        except UnknownValueError as error:
            unknown = unknown or error
    return Held(place, tuple(found), unknown)


def _unreadable(place: Place, error: SettingsError) -> Misfit:
    return place.misfit(
        "settings",
        place.text.path,
        f"{place.label} reads {SERVING}",
        f"it would refuse them ({error})",
        "settings that it takes",
        (),
        otherwise="what they say there",
    )
