"""``machines-watched``."""

from __future__ import annotations

import pytest

from policies.rules.machines_watched import machines_watched
from policies.testing import Case, Cases, drop, put, resource

MACHINE = "aws:sfn/stateMachine:StateMachine"

CASES = Cases(
    machines_watched,
    passing=[
        resource(MACHINE, {"loggingConfiguration": {"level": "ALL"}, "tracingConfiguration": {"enabled": True}}),
        resource(MACHINE, {"loggingConfiguration": {"level": "ERROR"}, "tracingConfiguration": {"enabled": True}}),
    ],
    failing=[
        put("loggingConfiguration.level", "OFF"),
        drop("loggingConfiguration"),
        put("tracingConfiguration.enabled", False),
        drop("tracingConfiguration"),
    ],
    unknown=["loggingConfiguration.level", "tracingConfiguration"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_machines_watched(case: Case) -> None:
    case.check()
