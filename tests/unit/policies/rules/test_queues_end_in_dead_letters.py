"""``queues-end-in-dead-letters``."""

from __future__ import annotations

import json

import pytest

from policies.node import UNKNOWN
from policies.rules.queues_end_in_dead_letters import queues_end_in_dead_letters
from policies.testing import Case, Cases, drop, put, resource, stack

DEAD = resource("aws:sqs/queue:Queue", {"name": "dead"}, "dead")
POLICY = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead", "maxReceiveCount": 3})
QUEUE = resource(
    "aws:sqs/queue:Queue", {"name": "queue", "redrivePolicy": POLICY}, "queue", links={"redrivePolicy": [DEAD]}
)
UNLINKED = resource(QUEUE.type, QUEUE.value, "queue")
PLAIN = resource(QUEUE.type, {"name": "queue"}, "queue")
FUNCTION = resource("aws:lambda/function:Function", {}, links={"deadLetterConfig": [DEAD]})

CASES = Cases(
    queues_end_in_dead_letters,
    passing=[
        stack(UNLINKED, FUNCTION, DEAD),
        stack(QUEUE, DEAD),
        stack(FUNCTION, DEAD),
        stack(DEAD, resource(QUEUE.type, {"redrivePolicy": UNKNOWN}, "queue", links={"redrivePolicy": [DEAD]})),
        stack(
            DEAD,
            PLAIN,
            resource(
                "aws:sqs/redrivePolicy:RedrivePolicy",
                {"queueUrl": UNKNOWN, "redrivePolicy": UNKNOWN},
                links={"queueUrl": [PLAIN], "redrivePolicy": [DEAD]},
            ),
        ),
    ],
    failing=[
        stack(DEAD),
        stack(FUNCTION, DEAD, PLAIN),
        put("redrivePolicy", "{}"),
        put("redrivePolicy", json.dumps({"deadLetterTargetArn": "arn", "maxReceiveCount": 0})),
        drop("redrivePolicy"),
    ],
    unknown=["redrivePolicy"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_queues_end_in_dead_letters(case: Case) -> None:
    case.check()
