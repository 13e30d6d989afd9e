"""``alarms-tell``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.alarms_tell import alarms_tell
from policies.testing import Case, Cases, drop, put, resource

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"

CASES = Cases(
    alarms_tell,
    passing=[
        resource(ALARM, {"alarmActions": ["arn:aws:sns:us-east-1:123456789012:alerts"]}),
        resource(ALARM, {"alarmActions": [UNKNOWN], "actionsEnabled": True}),
        resource("aws:cloudwatch/compositeAlarm:CompositeAlarm", {"alarmActions": [UNKNOWN]}),
    ],
    failing=[put("alarmActions", []), put("alarmActions", [""]), drop("alarmActions"), put("actionsEnabled", False)],
    unknown=["alarmActions", "actionsEnabled"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_alarms_tell(case: Case) -> None:
    case.check()
