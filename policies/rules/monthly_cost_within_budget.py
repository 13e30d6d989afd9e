"""``monthly-cost-within-budget``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE
from pydantic import Field, field_validator

from policies.cost import Estimate, Line, NotEstimated, Usage, estimate
from policies.cost.charge import number
from policies.cost.usage import assumed
from policies.node import Resource, Stack, Violation
from policies.rule import RuleConfig, Severity, UnknownValueError, stack_rule

BUDGET = "aws:budgets/budget:Budget"

NAMED = 3
"""So many of the dearest lines, and of the smallest that would do, are named."""


class Bound(RuleConfig):
    """``bound``: what must be within the budget; idle is the least that the stack costs, full the most.

    ``usd``: the budget, 0 for the stack's own. ``unknown``: whether a line that can't be estimated is told of or
    refused. ``usage``: assumptions of a month other than those of ``policies/cost/usage.json``. ``region``: of the
    AWS resources, where nothing in the stack names it.
    """

    bound: Literal["full", "idle"] = "full"
    usd: float = Field(default=0, ge=0)
    unknown: Literal["tell", "refuse"] = "tell"
    usage: Mapping[str, float] = Field(default_factory=dict)
    region: str = ""

    @field_validator("usage")
    @classmethod
    def _is_assumed(cls, given: Mapping[str, float]) -> Mapping[str, float]:
        assumed().with_changes(given)
        return given

    def assumptions(self) -> Usage:
        return assumed().with_changes(self.usage)


@stack_rule(
    "monthly-cost-within-budget",
    BUDGET,
    group="cost and fit",
    severity=Severity.HIGH,
    remedy="smaller or fewer of them, or a higher operations.monthly_budget_usd in Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html",
    config=Bound,
)
def monthly_cost_within_budget(stack: Stack, config: Bound) -> Iterator[Violation]:
    """What a stack can cost in a month is within its budget.

    One without a budget is refused by ``budget-given``.
    """
    budget = next((each for each in stack.of_type(BUDGET) if _is_of_a_month(each)), None)
    if not config.usd and budget is None:
        return
    urn = budget.urn if budget else ""
    try:
        limit = config.usd or (number(budget, "limitAmount") if budget else 0)
    except NotEstimated as error:
        yield _said(urn, "dollars a month", str(error))
        return
    yield from _held(urn, limit, estimate(stack, usage=config.assumptions(), region=config.region), config)


def _is_of_a_month(budget: Resource) -> bool:
    terms = (budget.get("budgetType"), budget.get("timeUnit"), budget.get("limitUnit"))
    return terms == ("COST", "MONTHLY", "USD")


def _held(urn: str, limit: float, cost: Estimate, config: Bound) -> Iterator[Violation]:
    total, unknown = cost.cost(config.bound), cost.unknown
    over = total - limit
    if over > 0:
        missing = f" and {_count(unknown)} unknown" if unknown else ""
        got = (
            f"{_dollars(total)}{missing}: {_dollars(over)} over; idle {_dollars(cost.idle)}, full {_dollars(cost.full)}"
        )
        yield _said(urn, f"at most {_dollars(limit)} a month ({config.bound})", got)
        lines = cost.dearest(config.bound)
        yield _said(urn, "less of the dearest", _named(lines[:NAMED], config.bound))
        # Without one of these alone, the stack would be within its budget.
        enough = [each for each in lines if each.cost(config.bound) >= over][-NAMED:]
        if enough:
            yield _said(urn, "less of the smallest that would do", _named(enough[::-1], config.bound))
    if unknown and config.unknown == "refuse":
        yield _said(urn, "a known cost of each line", f"{_count(unknown)} unknown: {_reasons(unknown)}")
    elif unknown and over <= 0:
        raise _unheld(unknown, total, config.bound)


def _unheld(unknown: Sequence[Line], total: float, bound: str) -> UnknownValueError:
    """What Pulumi reports as advice: the rule can't say that the stack is within its budget."""
    error = UnknownValueError(UNKNOWN_STRING_VALUE, [each.label for each in unknown])
    error.message = (
        f"{_count(unknown)} of the cost unknown beside {_dollars(total)} a month ({bound}): {_reasons(unknown)}"
    )
    return error


def _said(urn: str, expected: str, got: str) -> Violation:
    return Violation("limitAmount", expected, got, urn)


def _count(lines: Sequence[Line]) -> str:
    return f"{len(lines)} {'line' if len(lines) == 1 else 'lines'}"


def _reasons(lines: Iterable[Line]) -> str:
    return "; ".join(sorted({f"{_name(each)}: {each.unknown}" for each in lines}))


def _named(lines: Iterable[Line], bound: str) -> str:
    return "; ".join(f"{_name(each)}: {each.what} {_dollars(each.cost(bound))}" for each in lines)


def _name(line: Line) -> str:
    type_, _, name = line.label.rpartition(" ")
    return f"{type_.rpartition(':')[2]} {name}"


def _dollars(amount: float) -> str:
    return f"${amount:,.0f}"
