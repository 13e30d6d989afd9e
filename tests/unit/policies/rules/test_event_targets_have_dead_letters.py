"""``event-targets-have-dead-letters``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.event_targets_have_dead_letters import event_targets_have_dead_letters
from policies.testing import Case, Cases, drop, put, resource, stack

QUEUE = resource("aws:sqs/queue:Queue", {}, "queue")
TARGET = resource(
    "aws:cloudwatch/eventTarget:EventTarget", {"deadLetterConfig": {"arn": "arn:aws:sqs:us-east-1:1:queue"}}, "target"
)
ARN = "deadLetterConfig.arn"

CASES = Cases(
    event_targets_have_dead_letters,
    passing=[
        stack(TARGET),
        stack(
            QUEUE,
            resource(TARGET.type, {"deadLetterConfig": {"arn": UNKNOWN}}, links={"deadLetterConfig": [QUEUE]}),
        ),
        stack(resource("aws:scheduler/schedule:Schedule", {"target": {"deadLetterConfig": {"arn": "arn"}}})),
    ],
    failing=[
        drop(ARN),
        drop("deadLetterConfig"),
        put(ARN, ""),
        stack(resource("aws:scheduler/schedule:Schedule", {"target": {}})),
    ],
    unknown=[put(ARN, UNKNOWN), put("deadLetterConfig", UNKNOWN)],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_event_targets_have_dead_letters(case: Case) -> None:
    case.check()
