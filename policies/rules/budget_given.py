"""``budget-given``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.node import Node
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

BUDGET = "aws:budgets/budget:Budget"
SUBSCRIBERS = ("subscriberEmailAddresses", "subscriberSnsTopicArns")


@stack_rule(
    "budget-given",
    BUDGET,
    group="cost and fit",
    severity=Severity.MEDIUM,
    remedy="operations: {monthly_budget_usd, email} of Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html",
)
def budget_given(stack: Stack) -> Iterable[Violation]:
    """A stack on AWS has a budget, and somebody hears before it is used up."""
    budgets = stack.of_type(BUDGET)
    if not budgets and any(each.type.startswith("aws:") for each in stack.resources):
        yield Violation("", "a budget", "none")
    yield from each_held(budgets, _of_budget)


def _of_budget(budget: Resource) -> Iterable[Violation]:
    if not any(_is_heard(each) for each in budget.each("notifications")):
        yield budget.violation("notifications", "one with a subscriber", budget.get("notifications"))


def _is_heard(notification: Node) -> bool:
    """An address that isn't known yet is one all the same."""
    return any(True for path in SUBSCRIBERS for _ in notification.each(path))
