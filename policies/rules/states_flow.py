"""``states-flow``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from policies.node import Node
from policies.reading.states import DEFINITION, MACHINE, Flow, inner, targets
from policies.rule import Resource, Severity, Violation, rule

COMMON = frozenset({"Type", "Comment", "QueryLanguage", "Assign", "Output"})
FLOW = frozenset({"Next", "End", "InputPath", "OutputPath"})
WORK = frozenset({"Parameters", "ResultSelector", "ResultPath", "Retry", "Catch", "Arguments"})

FIELDS: Mapping[str, frozenset[str]] = {
    "Task": COMMON
    | FLOW
    | WORK
    | {
        "Resource",
        "TimeoutSeconds",
        "TimeoutSecondsPath",
        "HeartbeatSeconds",
        "HeartbeatSecondsPath",
        "Credentials",
    },
    "Parallel": COMMON | FLOW | WORK | {"Branches"},
    "Map": COMMON
    | FLOW
    | WORK
    | {
        "ItemProcessor",
        "Iterator",
        "ItemsPath",
        "Items",
        "ItemReader",
        "ItemSelector",
        "ItemBatcher",
        "ResultWriter",
        "MaxConcurrency",
        "MaxConcurrencyPath",
        "ToleratedFailurePercentage",
        "ToleratedFailurePercentagePath",
        "ToleratedFailureCount",
        "ToleratedFailureCountPath",
        "Label",
    },
    "Pass": COMMON | FLOW | {"Result", "Parameters", "ResultPath"},
    "Wait": COMMON | FLOW | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Choice": COMMON | {"Choices", "Default", "InputPath", "OutputPath"},
    "Succeed": COMMON | {"InputPath", "OutputPath"},
    "Fail": COMMON | {"Error", "ErrorPath", "Cause", "CausePath"},
}
"""State's type → its fields. https://states-language.net/spec.html#state-types"""

NO_NEXT = frozenset({"Choice", "Fail", "Succeed"})
NEEDED: Mapping[str, str] = {"Task": "Resource", "Parallel": "Branches", "Choice": "Choices"}


@rule(
    "states-flow",
    MACHINE,
    group="pipelines and functions",
    severity=Severity.HIGH,
    remedy="infra/aws/pipeline_definition.py: the state's name as it stands in States",
    source="https://states-language.net/spec.html#transition",
)
def states_flow(machine: Resource) -> Iterable[Violation]:
    """Every state of a machine can be reached, has the fields of its type, and leads to one that is there or ends."""
    document = machine.document(DEFINITION)
    if document is None or not isinstance(document.value, dict):
        return [machine.violation(DEFINITION, "a JSON object", machine.get(DEFINITION))]
    return _of(Flow(document))


def _of(flow: Flow) -> Iterator[Violation]:
    states = flow.states()
    if not states:
        yield flow.node.violation("States", "states", flow.node.get("States"))
        return
    names = ", ".join(states)
    reached = flow.reached()
    if not reached:
        yield flow.node.violation("StartAt", f"one of {names}", flow.start)
    for name, state in states.items():
        if not isinstance(state.value, dict):
            yield state.violation("", "an object", state.value)
            continue
        if reached and name not in reached:
            yield state.violation("", "to be reached from StartAt", "no state that leads to it")
        yield from _fields(state)
        for target in targets(state):
            if not isinstance(target.value, str) or target.value not in states:
                yield target.violation("", f"one of {names}", target.value)
        for within in inner(state):
            yield from _of(within)


def _fields(state: Node) -> Iterator[Violation]:
    kind = state.get("Type")
    if not isinstance(kind, str) or kind not in FIELDS:
        yield state.violation("Type", f"one of {', '.join(FIELDS)}", kind)
        return
    for key in sorted(map(str, state.value.keys() - FIELDS[kind])):
        yield state.violation(key, f"a field of {kind}", key)
    if kind in NEEDED:
        yield from state.require(NEEDED[kind], "to be given")
    if kind not in NO_NEXT and ("Next" in state.value) == (state.get("End") is True):
        yield state.violation("", "either Next or End", "both" if "Next" in state.value else "neither")
