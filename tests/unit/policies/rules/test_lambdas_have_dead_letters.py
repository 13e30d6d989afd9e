"""``lambdas-have-dead-letters``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.lambdas_have_dead_letters import lambdas_have_dead_letters
from policies.testing import Case, Cases, drop, gone, put, resource, stack

QUEUE = resource("aws:sqs/queue:Queue", {}, "queue")
KEPT = {"name": "predict", "deadLetterConfig": {"targetArn": "arn:aws:sqs:us-east-1:1:queue"}}
FUNCTION = resource("aws:lambda/function:Function", KEPT, "predict")
PLAIN = resource("aws:lambda/function:Function", {"name": "predict"}, "predict")
INVOKED = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
SENT = {"functionName": "predict", "destinationConfig": {"onFailure": {"destination": "arn"}}}
ARN = "deadLetterConfig.targetArn"

CASES = [
    Cases(
        lambdas_have_dead_letters,
        passing=[
            stack(FUNCTION),
            stack(
                QUEUE,
                resource(
                    FUNCTION.type, {"deadLetterConfig": {"targetArn": UNKNOWN}}, links={"deadLetterConfig": [QUEUE]}
                ),
            ),
            stack(),
        ],
        failing=[drop("deadLetterConfig"), drop(ARN), put(ARN, None), stack(FUNCTION, resource(PLAIN.type, {}))],
        unknown=[put(ARN, UNKNOWN), put("deadLetterConfig", UNKNOWN)],
    ),
    Cases(
        lambdas_have_dead_letters,
        passing=[
            stack(PLAIN, resource(INVOKED, SENT, "invoked")),
            stack(
                QUEUE,
                PLAIN,
                resource(
                    INVOKED,
                    {"functionName": UNKNOWN, "destinationConfig": {"onFailure": {"destination": UNKNOWN}}},
                    links={"functionName": [PLAIN], "destinationConfig": [QUEUE]},
                ),
            ),
        ],
        failing=[
            gone("invoked"),
            drop("destinationConfig.onFailure", "invoked"),
            put("functionName", "other", "invoked"),
        ],
        unknown=[put("functionName", UNKNOWN, "invoked"), put("destinationConfig", UNKNOWN, "invoked")],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_lambdas_have_dead_letters(case: Case) -> None:
    case.check()
