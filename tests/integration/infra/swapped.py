"""The recorded state machine, with a function in place of each job that the emulator can't run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from infra.aws.states import states_of

INVOKE = "arn:aws:states:::lambda:invoke"

SPARK = "emr-serverless:startJobRun.sync"
TASK = "ecs:runTask.sync"

SWAPPED: Mapping[str, tuple[str, str]] = {
    "BuildFeatures": (SPARK, "moto's interpreter does not know EMR Serverless, and moto's EMR Serverless runs no job"),
    "Train": (TASK, "moto's ECS notes a task, and starts no container"),
    "Register": (TASK, "moto's ECS notes a task, and starts no container"),
    "PublishOnlineFeatures": (TASK, "moto's ECS notes a task, and starts no container"),
}
"""State → the integration that it has, and why a function that starts the same program stands in for it here."""

REUSED: Mapping[str, str] = {
    "BuildFeatures": "the same tables give the same view: the first execution's is copied",
    "Train": "the same view and seed give the same model: the first execution's run is copied, with its metrics",
}
"""State of the execution that is turned away at the gate → why its program is not started a second time."""


def integrations(definition: Mapping[str, Any]) -> dict[str, str]:
    """State → the service that it waits for the end of a job of."""
    found = {name: str(state.get("Resource", "")) for name, state in states_of(definition).items()}
    return {name: resource.rpartition(":::")[2] for name, resource in found.items() if resource.endswith(".sync")}


def swapped(definition: Mapping[str, Any], functions: Mapping[str, str]) -> dict[str, Any]:
    """``functions``: state → the function's ARN, which is invoked with the parameters that the job was to get.

    Retries, catches, timeouts and results stay the recorded ones.
    """
    made = copy.deepcopy(dict(definition))
    for name, state in states_of(made).items():
        if name in SWAPPED:
            state |= {
                "Resource": INVOKE,
                "Parameters": {"FunctionName": functions[name], "Payload": state["Parameters"]},
            }
    return made
