"""What moto's EventBridge lacks: a target that is a state machine is started with the event, as its rule says."""

from __future__ import annotations

import copy
import json
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3  # type: ignore[import-untyped]

from infra.check.emulator import NotEmulated

CHANGED = ("Input", "InputPath", "InputTransformer")
"""Of a target: they make something else of the event, which nothing here does."""


def to_state_machines(original: Callable[..., None]) -> Callable[..., None]:
    """``Rule.send_to_targets``, whose other targets stay moto's."""

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        machines = [each for each in self.targets if _is_machine(each)]
        others = copy.copy(self)
        others.targets = [each for each in self.targets if not _is_machine(each)]
        if others.targets:
            original(others, original_event, transform_input)
        if machines and self.state == "ENABLED" and self.event_pattern.matches_event(original_event):
            for each in machines:
                _start(each, original_event)

    return send_to_targets


def _is_machine(target: Mapping[str, Any]) -> bool:
    return bool(target["Arn"].split(":")[2] == "states")


def _start(target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    try:
        if changed := [name for name in CHANGED if target.get(name)]:
            raise NotEmulated(f"{target['Arn']}: the emulator hands over an event as it is, without {changed}")
        client = boto3.client(
            "stepfunctions",
            endpoint_url=f"http://127.0.0.1:{os.environ['MOTO_PORT']}",
            region_name=target["Arn"].split(":")[3],
        )
        # EventBridge's own names are of this form, and as long.
        name = f"{uuid.uuid4()}_{uuid.uuid4()}"
        client.start_execution(stateMachineArn=target["Arn"], name=name, input=json.dumps(_as_sent(event)))
    except Exception:  # noqa: BLE001  whoever wrote the object never hears of it, as at AWS; the log does
        sys.stderr.write(traceback.format_exc())


def _as_sent(event: Mapping[str, Any]) -> dict[str, Any]:
    """moto has the time as a number, and every event by one id."""
    at = event["time"]
    if not isinstance(at, str):
        at = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**event, "id": str(uuid.uuid4()), "time": at}
