"""Who is measured against whom, at how many clients, and what this ingress is to reach. Pure: starts nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.load import Load

INLINE = "inline"
REPLICA = "replica"
MLSERVER = "mlserver"
BENTOML = "bentoml"
BARE = "bare"

Encoding = Literal["JSON", "binary"]
Figure = Literal["p50", "rate"]


@dataclass(frozen=True)
class Contestant:
    """``server`` is the key of what answers (``None``: ONNX Runtime in process), ``encoding`` that of the tensors."""

    label: str
    server: str | None
    encoding: Encoding = "JSON"


@dataclass(frozen=True)
class Case:
    """Requests of ``rows`` rows, sent by each number of ``clients`` in turn to each contestant."""

    key: str
    title: str
    rows: int
    clients: tuple[int, ...]
    contestants: tuple[Contestant, ...]
    baseline: str

    @property
    def servers(self) -> tuple[str, ...]:
        """The keys of what has to run, each once."""
        return tuple(dict.fromkeys(found.server for found in self.contestants if found.server is not None))


@dataclass(frozen=True)
class Goal:
    """``figure`` of one contestant over that of another, at so many clients: at most or at least ``bound``.

    ``ceiling``: ``against`` does a part of the work of ``of``, so no true ratio of their rates is above 1.
    """

    case: str
    clients: int
    figure: Figure
    of: str
    against: str
    bound: float
    sense: Literal["at most", "at least"]
    ceiling: bool = False


@dataclass(frozen=True)
class Round:
    """One measurement: which round of which case, who, at how many clients, and what came out."""

    case: str
    number: int
    contestant: str
    clients: int
    load: Load


@dataclass(frozen=True)
class Verdict:
    """The ratio of the medians, the least and the greatest ratio within a round, and whether the goal is reached.

    ``reached`` is ``None`` where the ratio is above a ceiling: the run was disturbed, and shows nothing.
    """

    goal: Goal
    ratio: float
    least: float
    greatest: float
    reached: bool | None


NOISE = 0.05
"""By how much two medians of the same may differ on a quiet machine."""

OURS = "this ingress"
OURS_BINARY = "this ingress, binary"
OURS_JSON = "this ingress, JSON"
CEILING = "ONNX Runtime in process"
PEER = "MLServer"

CASES = {
    case.key: case
    for case in (
        Case(
            key="one-row",
            title="One row a request",
            rows=1,
            clients=(1, 16),
            contestants=(
                Contestant(OURS, INLINE),
                Contestant(PEER, MLSERVER),
                Contestant("BentoML", BENTOML),
                Contestant("bare FastAPI", BARE),
            ),
            baseline=PEER,
        ),
        Case(
            key="1000-rows",
            title="1,000 rows a request",
            rows=1000,
            clients=(1, 2),
            contestants=(
                Contestant(OURS_BINARY, INLINE, "binary"),
                Contestant(CEILING, None),
                Contestant(OURS_JSON, INLINE),
                Contestant("MLServer, JSON", MLSERVER),
                Contestant("BentoML, JSON", BENTOML),
                Contestant("bare FastAPI, JSON", BARE),
            ),
            baseline=CEILING,
        ),
        Case(
            key="replica",
            title="Placement `replica` against `inline`, one row a request",
            rows=1,
            clients=(64,),
            contestants=(Contestant("replica", REPLICA), Contestant("inline", INLINE)),
            baseline="inline",
        ),
    )
}

GOALS = (
    Goal("one-row", 1, "p50", OURS, PEER, 0.7, "at most"),
    Goal("one-row", 16, "rate", OURS, PEER, 2.0, "at least"),
    Goal("1000-rows", 1, "rate", OURS_BINARY, CEILING, 0.8, "at least", ceiling=True),
    Goal("1000-rows", 2, "rate", OURS_BINARY, CEILING, 0.8, "at least", ceiling=True),
    Goal("replica", 64, "rate", "replica", "inline", 0.7, "at least"),
)


def order(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """The contestants in the order of round ``number``: each round begins with the next, so none is always first."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def loads(rounds: Sequence[Round], case: str, contestant: str, clients: int) -> list[Load]:
    """What the rounds measured of one contestant at so many clients, in the order of the rounds."""
    found = [entry for entry in rounds if (entry.case, entry.contestant, entry.clients) == (case, contestant, clients)]
    return [entry.load for entry in sorted(found, key=lambda entry: entry.number)]


def median(measured: Sequence[Load]) -> Load:
    """The median of each figure by itself; ``measured`` is not empty."""
    return Load(
        p50=statistics.median(load.p50 for load in measured),
        p99=statistics.median(load.p99 for load in measured),
        rate=statistics.median(load.rate for load in measured),
    )


def evaluate(goal: Goal, rounds: Sequence[Round]) -> Verdict | None:
    """Hold what was measured against ``goal``; ``None`` where a side of it was not measured."""
    ours = [_figure(load, goal.figure) for load in loads(rounds, goal.case, goal.of, goal.clients)]
    theirs = [_figure(load, goal.figure) for load in loads(rounds, goal.case, goal.against, goal.clients)]
    if not ours or not theirs:
        return None
    ratio = statistics.median(ours) / statistics.median(theirs)
    within = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    reached = ratio <= goal.bound if goal.sense == "at most" else ratio >= goal.bound
    if goal.ceiling and ratio > 1 + NOISE:
        # Seen on a busy machine: 1.57, while the ceiling took less CPU time a call than the server a request.
        return Verdict(goal, ratio, min(within), max(within), None)
    return Verdict(goal, ratio, min(within), max(within), reached)


def _figure(load: Load, figure: Figure) -> float:
    return load.p50 if figure == "p50" else load.rate
