"""The fit check's table: each place where something is served, what it asks for and what it has."""

from __future__ import annotations

from collections.abc import Iterator

from infra.check.graph import stack_of
from infra.check.record import Recording
from policies.fit import held
from policies.fit.engine import Held
from policies.fit.tell import line


def fit_table(recording: Recording) -> Iterator[str]:
    """One line a room of a place; after it, what doesn't fit."""
    for each in held(stack_of(recording)):
        yield from _lines(each)


def _lines(each: Held) -> Iterator[str]:
    yield from (f"  {text}" for text in line(each))
    yield from (f"    {misfit}" for misfit in each.misfits)
