"""``states-flow``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.node import Resource
from policies.rules.states_flow import states_flow
from policies.testing import Case, Cases, drop, found, put, resource

STATES: dict[str, dict[str, Any]] = {
    "Train": {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
        "Next": "Is it good?",
    },
    "Is it good?": {
        "Type": "Choice",
        "Choices": [{"Variable": "$.auc", "NumericGreaterThanEquals": 0.7, "Next": "Both"}],
        "Default": "Failed",
    },
    "Both": {
        "Type": "Parallel",
        "Branches": [{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}}],
        "Next": "v1.2",
    },
    "v1.2": {"Type": "Succeed"},
    "Failed": {"Type": "Fail", "Error": "Failed"},
}


def machine(start: Any = "Train", **states: Any) -> Resource:
    document = {"StartAt": start, "States": {**STATES, **states}}
    return resource("aws:sfn/stateMachine:StateMachine", {"definition": json.dumps(document)})


def train(**fields: Any) -> Resource:
    return machine(Train={**STATES["Train"], **fields})


def branch(**fields: Any) -> Resource:
    return machine(Both={**STATES["Both"], "Branches": [{**STATES["Both"]["Branches"][0], **fields}]})


MISTAKES = {
    "States.Train.Next": train(Next="Good"),
    "States.Train.Catch[0].Next": train(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Fialed"}]),
    "States.Is it good?.Default": machine(**{"Is it good?": {**STATES["Is it good?"], "Default": "Fialed"}}),
    "States.Is it good?.Choices[0].Next": machine(**{"Is it good?": {**STATES["Is it good?"], "Choices": ["Both"]}}),
    "States.Lost": machine(Lost={"Type": "Succeed"}),
    "States.Train.Retries": train(Retries=[]),
    "States.Train.Resource": train(Resource=""),
    "States.Train": train(End=True),
    "States.Failed": machine(Failed="Fail"),
    "States.Failed.Type": machine(Failed={"Type": "Failure"}),
    "States.Both.Branches[0].StartAt": branch(StartAt="Wiat"),
    "States.Both.Branches[0].States": branch(States={}),
    "States.Both.Branches[0].States.Wait": branch(States={"Wait": {"Type": "Wait", "Seconds": 1}}),
    "StartAt": machine(["Train"]),
}
"""Path → the machine with a mistake there."""

CASES = Cases(
    states_flow,
    passing=[machine()],
    failing=[
        *MISTAKES.values(),
        put("definition", "no JSON"),
        put("definition", "[]"),
        put("definition", "{}"),
        drop("definition"),
    ],
    unknown=["definition"],
)


@pytest.mark.parametrize("path", MISTAKES)
def test_a_mistake_is_found_where_it_is(path: str) -> None:
    assert f"definition.{path}" in [each.path for each in found(states_flow, MISTAKES[path])]


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_states_flow(case: Case) -> None:
    case.check()
