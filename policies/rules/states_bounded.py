"""``states-bounded``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.states import DEFINITION, MACHINE, Flow, inner
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "states-bounded",
    MACHINE,
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy='"TimeoutSeconds": …, "Retry": transient("States.ALL") and "Catch": [{"ErrorEquals": ["States.ALL"], …}]',
    source="https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html",
)
def states_bounded(machine: Resource) -> Iterable[Violation]:
    """Every task of a machine has a time limit, tries again, and leads on where it fails for good."""
    document = machine.document(DEFINITION)
    return _of(Flow(document), caught=False) if document is not None else ()


def _of(flow: Flow, *, caught: bool) -> Iterator[Violation]:
    """``caught``: what holds these states has a Catch, which is theirs too."""
    # What only a Catch leads to is the failure's own path: there is nowhere else to go from there.
    working = flow.reached(failing=False)
    for name, state in flow.states().items():
        if state.get("Type") == "Task":
            yield from _task(state, caught=caught or name not in working)
        for within in inner(state):
            yield from _of(within, caught=caught or name not in working or bool(state.get("Catch")))


def _task(state: Node, *, caught: bool) -> Iterator[Violation]:
    if not state.get("TimeoutSeconds") and not state.get("TimeoutSecondsPath"):
        yield state.violation("TimeoutSeconds", "a time limit", None)
    if not state.get("Retry"):
        yield state.violation("Retry", "another try", None)
    if not caught and not state.get("Catch"):
        yield state.violation("Catch", "a state for its failure", None)
