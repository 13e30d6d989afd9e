"""Who hears of what: the topic, the budget, the dashboard and its alarms."""

import json
from typing import Any

import pytest

from infra.check.record import Recording
from infra.check.rules import findings
from tests.unit.infra.aws.operations import EMAIL, MODELS, Wanted, everything, recorded

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Recording:
    return everything()


@pytest.fixture(scope="module")
def bare() -> Recording:
    return recorded(Wanted(parts=False))


def alarm(made: Recording, part: str) -> Json:
    return dict(made.named(f"watch-{part}", ALARM).inputs)


def widgets(made: Recording) -> list[Json]:
    return list(
        json.loads(made.named("watch", "aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])["widgets"]
    )


@pytest.mark.parametrize("component", ["Alerts alerts", "Budget budget", "Observability watch"])
def test_no_rule_finds_anything(made: Recording, component: str) -> None:
    type_, name = component.split()
    below = {each.label for each in made.below(made.named(name, f"ml:aws:{type_}"))}
    assert below
    assert [found for found in findings(made) if found.resource in below] == []


class TestTheTopic:
    def test_takes_messages_of_this_account_by_tls_alone(self, made: Recording) -> None:
        policy = json.loads(made.named("alerts", "aws:sns/topicPolicy:TopicPolicy").inputs["policy"])
        allowed, denied = policy["Statement"]
        assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
        assert {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"} < set(allowed["Principal"]["Service"])
        assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})

    def test_is_encrypted_and_read_by_the_operator(self, made: Recording) -> None:
        assert made.named("alerts", "aws:sns/topic:Topic").inputs["kmsMasterKeyId"]
        subscription = made.named("alerts-email", "aws:sns/topicSubscription:TopicSubscription").inputs
        assert (subscription["protocol"], subscription["endpoint"]) == ("email", EMAIL)


class TestTheBudget:
    def test_tells_of_half_most_all_and_of_a_forecast_above(self, made: Recording) -> None:
        budget = made.named("budget", "aws:budgets/budget:Budget").inputs
        told = [(each["notificationType"], each["threshold"]) for each in budget["notifications"]]
        assert told == [("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
        assert all(each["subscriberEmailAddresses"] == [EMAIL] for each in budget["notifications"])

    def test_counts_what_has_the_stacks_tag(self, made: Recording) -> None:
        budget = made.named("budget", "aws:budgets/budget:Budget").inputs
        assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:stack$dev"]}]
        assert budget["tags"]["stack"] == "dev"
        monitor = made.named("budget", "aws:costexplorer/anomalyMonitor:AnomalyMonitor").inputs
        assert json.loads(monitor["monitorSpecification"]) == {"Tags": {"Key": "stack", "Values": ["dev"]}}

    def test_tells_of_an_anomaly_of_a_tenth_of_it(self, made: Recording) -> None:
        subscription = made.named("budget", "aws:costexplorer/anomalySubscription:AnomalySubscription").inputs
        assert subscription["thresholdExpression"]["dimension"]["values"] == ["20"]


class TestAlarms:
    def test_failures_count_by_their_share_of_all_requests(self, made: Recording) -> None:
        found = alarm(made, "5xx")
        metrics = {each["id"]: each["metric"]["metricName"] for each in found["metricQueries"] if "metric" in each}
        assert metrics == {
            "requests": "RequestCount",
            "target": "HTTPCode_Target_5XX_Count",
            "own": "HTTPCode_ELB_5XX_Count",
        }
        assert (found["threshold"], found["evaluationPeriods"]) == (1, 5)

    def test_slowness_is_that_of_the_settings(self, made: Recording) -> None:
        found = alarm(made, "p99")
        assert (found["extendedStatistic"], found["threshold"], found["metricName"]) == (
            "p99",
            1.5,
            "TargetResponseTime",
        )

    def test_no_figures_of_healthy_tasks_are_bad_and_none_of_errors_good(self, made: Recording) -> None:
        assert alarm(made, "no-host")["treatMissingData"] == "breaching"
        assert alarm(made, "5xx")["treatMissingData"] == "notBreaching"
        assert alarm(made, "unhealthy-1")["treatMissingData"] == "ignore"

    def test_idle_gpus_are_instances_that_run_an_hour_without_a_request(self, made: Recording) -> None:
        found = alarm(made, "gpu-idle")
        (period,) = {each["metric"]["period"] for each in found["metricQueries"] if "metric" in each}
        assert found["evaluationPeriods"] * period == 3600
        running = next(each["metric"] for each in found["metricQueries"] if each["id"] == "running")
        assert running["dimensions"] == {
            "AutoScalingGroupName": made.named("ingress-gpu", "aws:autoscaling/group:Group").inputs["name"]
        }

    def test_tokens_are_summed_over_as_many_models_as_an_alarm_takes(self, made: Recording) -> None:
        def models(part: str) -> set[str]:
            queries = alarm(made, part)["metricQueries"]
            assert len(queries) <= 11
            return {each["metric"]["dimensions"]["ModelId"] for each in queries if "metric" in each}

        assert models("tokens-0") | models("tokens-1") == set(MODELS)
        assert alarm(made, "tokens-0")["threshold"] == 1_000_000

    def test_each_of_ours_says_what_is_wrong_and_when_it_is_over(self, made: Recording) -> None:
        topic = made.named("alerts", "aws:sns/topicPolicy:TopicPolicy").inputs["arn"]
        ours = [each.inputs for each in made.of_type(ALARM) if each.inputs["alarmActions"] == [topic]]
        assert len(ours) > 15
        assert [each["name"] for each in ours if not each["alarmDescription"].endswith(".")] == []
        assert [each["name"] for each in ours if each["okActions"] != [topic]] == []


class TestTheDashboard:
    def test_shows_each_part_of_the_stack(self, made: Recording) -> None:
        titles = {each["properties"]["title"].partition(":")[0] for each in widgets(made)}
        assert titles == {"Ingress", "GPU instances", "Function", "Pipeline", "Dead letters", "Language models"}

    def test_no_widget_lies_on_another(self, made: Recording) -> None:
        places = {(each["x"], each["y"]) for each in widgets(made)}
        assert len(places) == len(widgets(made))
        assert all(each["x"] + each["width"] <= 24 for each in widgets(made))

    def test_what_the_stack_does_not_have_is_not_there(self, bare: Recording) -> None:
        assert widgets(bare) == []
        assert bare.of_type(ALARM) == ()
