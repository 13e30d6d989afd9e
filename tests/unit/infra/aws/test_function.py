"""The model on Lambda and its API, as a small program registers them."""

import json
from typing import Any

import pytest

from infra.check.record import Recording
from infra.check.rules import findings
from tests.unit.infra.aws.operations import FUNCTION, everything

Json = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Recording:
    return everything()


def inputs(made: Recording, type_: str) -> Json:
    return dict(made.named("function", type_).inputs)


def test_no_rule_finds_anything_in_it(made: Recording) -> None:
    below = {each.label for each in made.below(made.named("function", "ml:aws:Function"))}
    assert len(below) > 12
    assert [found for found in findings(made) if found.resource in below] == []


def test_it_runs_the_image_with_the_model_of_the_settings(made: Recording) -> None:
    function = inputs(made, "aws:lambda/function:Function")
    assert function["packageType"] == "Image"
    assert function["imageUri"].endswith("/mtd-dev/lambda:1.4.0")
    assert function["environment"]["variables"]["MODEL_URI"] == f"s3://mtd-dev-artifacts-123456789012/{FUNCTION.model}"
    assert (function["reservedConcurrentExecutions"], function["timeout"], function["memorySize"]) == (4, 15, 1024)
    assert function["tracingConfig"] == {"mode": "Active"}


def test_it_reads_its_own_model_alone(made: Recording) -> None:
    statements = json.loads(inputs(made, "aws:iam/rolePolicy:RolePolicy")["policy"])["Statement"]
    (reads,) = [each["Resource"] for each in statements if each["Action"] == ["s3:GetObject"]]
    assert reads == [f"arn:aws:s3:::mtd-dev-artifacts-123456789012/{FUNCTION.model}/*"]


def test_all_paths_lead_to_the_live_version_by_this_api_alone(made: Recording) -> None:
    assert inputs(made, "aws:apigatewayv2/route:Route")["routeKey"] == "ANY /{proxy+}"
    integration = inputs(made, "aws:apigatewayv2/integration:Integration")
    assert (integration["integrationType"], integration["payloadFormatVersion"]) == ("AWS_PROXY", "2.0")
    assert integration["timeoutMilliseconds"] == 16_000
    permission = inputs(made, "aws:lambda/permission:Permission")
    assert permission["qualifier"] == "live"
    assert permission["sourceArn"].startswith("arn:aws:execute-api:eu-west-1:123456789012:")
    assert "corsConfiguration" not in inputs(made, "aws:apigatewayv2/api:Api")


def test_its_api_has_limits_and_a_log_without_headers_and_bodies(made: Recording) -> None:
    stage = inputs(made, "aws:apigatewayv2/stage:Stage")
    assert stage["defaultRouteSettings"]["throttlingRateLimit"] == FUNCTION.requests_per_second
    assert stage["defaultRouteSettings"]["throttlingBurstLimit"] == FUNCTION.burst
    logged = json.loads(stage["accessLogSettings"]["format"])
    assert {"status", "path", "latency_ms"} <= logged.keys()
    assert [value for value in logged.values() if "header" in value or "body" in value or "query" in value] == []


def test_its_alarms_are_on_errors_throttles_slowness_and_dead_letters(made: Recording) -> None:
    alarms = {
        each.name: each.inputs
        for each in made.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")
        if each.name.startswith("function-")
    }
    assert {name: alarm["metricName"] for name, alarm in alarms.items()} == {
        "function-errors": "Errors",
        "function-throttles": "Throttles",
        "function-slow": "Duration",
        "function-unhandled": "ApproximateNumberOfMessagesVisible",
    }
    assert (alarms["function-slow"]["extendedStatistic"], alarms["function-slow"]["threshold"]) == ("p99", 12_000)
    assert all(alarm["alarmActions"] == alarm["okActions"] for alarm in alarms.values())
