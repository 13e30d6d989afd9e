"""``monthly-cost-within-budget``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.node import UNKNOWN, Stack
from policies.rule import RuleConfigError, UnknownValueError
from policies.rules.monthly_cost_within_budget import monthly_cost_within_budget as rule
from policies.testing import Case, Cases, found, put, resource, stack

BUDGET = resource(
    "aws:budgets/budget:Budget",
    {"limitAmount": "100", "limitUnit": "USD", "timeUnit": "MONTHLY", "budgetType": "COST", "region": "us-east-1"},
    "budget",
)
TASK = resource("aws:ecs/taskDefinition:TaskDefinition", {"cpu": "1024", "memory": "2048"}, "task")
SERVICE = resource("aws:ecs/service:Service", {"launchType": "FARGATE"}, "service", links={"taskDefinition": [TASK]})
TARGET = resource(
    "aws:appautoscaling/target:Target", {"minCapacity": 1, "maxCapacity": 2}, "target", links={"resourceId": [SERVICE]}
)
ADDRESS = resource("aws:ec2/eip:Eip", {}, "address")
GOOD = stack(BUDGET, TASK, SERVICE, TARGET, ADDRESS)
ODD = resource("aws:sagemaker/endpoint:Endpoint", {}, "odd")

CASES = Cases(
    rule,
    passing=[GOOD, stack(ADDRESS), stack(replace(BUDGET, value={**BUDGET.value, "timeUnit": "DAILY"}), TASK)],
    failing=[
        put("maxCapacity", 3, at="target"),
        put("cpu", "4096", at="task"),
        put("limitAmount", "70", at="budget"),
        put("limitAmount", "plenty", at="budget"),
    ],
    unknown=[
        put("limitAmount", UNKNOWN, at="budget"),
        put("maxCapacity", UNKNOWN, at="target"),
        put("cpu", UNKNOWN, at="task"),
    ],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_monthly_cost_within_budget(case: Case) -> None:
    case.check()


def of(most: int, **config: object) -> list[str]:
    changed = put("maxCapacity", most, at="target").of(GOOD)
    return [str(each) for each in found(rule, changed, config)]


def test_it_names_the_dearest_and_the_smallest_that_would_do() -> None:
    assert of(3) == [
        "limitAmount: expected at most $100 a month (full), got $112: $12 over; idle $40, full $112",
        "limitAmount: expected less of the dearest, got Service service: 1–3 × 1 vCPU $89; "
        "Service service: 1–3 × 2 GB of memory $19; Eip address: a public address $4",
        "limitAmount: expected less of the smallest that would do, got "
        "Service service: 1–3 × 2 GB of memory $19; Service service: 1–3 × 1 vCPU $89",
    ]


def test_its_config() -> None:
    assert not of(3, bound="idle")
    assert not of(3, usd=113)
    assert of(2, usd=50)
    assert not of(3, usd=113, usage={"requests": 1})


@pytest.mark.parametrize("config", [{"usage": {"requets": 1}}, {"bound": "most"}, {"usd": -1}])
def test_a_config_that_is_none(config: dict[str, object]) -> None:
    with pytest.raises(RuleConfigError):
        found(rule, GOOD, config)


def test_it_says_what_is_unknown_and_never_passes_in_silence() -> None:
    unknown = Stack((*GOOD.resources, ODD))
    with pytest.raises(UnknownValueError) as error:
        found(rule, unknown)
    assert error.value.message == (
        "1 line of the cost unknown beside $76 a month (full): "
        "Endpoint odd: the type has no estimator, and isn't known to be free"
    )
    refused = [str(each) for each in found(rule, unknown, {"unknown": "refuse"})]
    assert refused == [
        "limitAmount: expected a known cost of each line, got "
        "1 line unknown: Endpoint odd: the type has no estimator, and isn't known to be free"
    ]
    over = found(rule, unknown, {"usd": 10})
    assert "and 1 line unknown" in str(over[0])


def test_a_stack_without_a_budget_of_its_own_is_held_to_the_configs() -> None:
    without = stack(ADDRESS)
    assert not found(rule, without, {"region": "us-east-1"})
    assert found(rule, without, {"region": "us-east-1", "usd": 1})
