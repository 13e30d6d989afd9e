"""``states-bounded``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.node import Resource
from policies.rules.states_bounded import states_bounded
from policies.testing import Case, Cases, resource

TASK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "TimeoutSeconds": 60,
    "Retry": [{"ErrorEquals": ["States.ALL"]}],
}
CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Tell"}]
BRANCH = {"StartAt": "In", "States": {"In": {**TASK, "End": True}}}
STATES: dict[str, dict[str, Any]] = {
    "Train": {**TASK, "Catch": CATCH, "Next": "Both"},
    "Both": {"Type": "Parallel", "Branches": [BRANCH], "Catch": CATCH, "End": True},
    "Tell": {**TASK, "Next": "Failed"},
    "Failed": {"Type": "Fail"},
}


def machine(**states: Any) -> Resource:
    document = {"StartAt": "Train", "States": {**STATES, **states}}
    return resource("aws:sfn/stateMachine:StateMachine", {"definition": json.dumps(document)})


def without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


EACH = {"Type": "Map", "ItemProcessor": BRANCH, "End": True}

CASES = Cases(
    states_bounded,
    passing=[
        machine(),
        machine(Train={**without(STATES["Train"], "TimeoutSeconds"), "TimeoutSecondsPath": "$.seconds"}),
        machine(Both={**EACH, "Catch": CATCH}),
        resource("aws:sfn/stateMachine:StateMachine", {"definition": "no JSON"}),
    ],
    failing=[
        *(machine(Train=without(STATES["Train"], key)) for key in ("TimeoutSeconds", "Catch", "Retry")),
        machine(Tell=without(STATES["Tell"], "TimeoutSeconds")),
        machine(Both=without(STATES["Both"], "Catch")),
        machine(Both=EACH),
    ],
    unknown=["definition"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_states_bounded(case: Case) -> None:
    case.check()
