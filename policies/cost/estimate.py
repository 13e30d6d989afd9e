"""The lines of an estimate: quantities times prices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pulumi_policy.proxy import UnknownValueError

from policies.cost.charge import HOURS, Charge, Estimator, NotEstimated, Surroundings
from policies.cost.estimators import ESTIMATORS, FREE
from policies.cost.prices import CLOUDS, Prices, UnknownPrice, shipped
from policies.cost.usage import Usage, assumed
from policies.node import Resource, Stack

NOT_COUNTED = (
    "data transfer (out, between zones and regions)",
    "tokens of language models",
    "taxes and support",
    "free tiers, credits, savings plans and reservations",
    "backups and snapshots beyond a database's own size",
    "retries, queries of logs, and what deployments run twice for minutes",
    "extended support of an old version",
)

ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
SERVICE = re.compile(r"com\.amazonaws\.([a-z]{2}(?:-[a-z]+)+-\d)\.")


@dataclass(frozen=True)
class Line:
    """Of one resource: what it has, and dollars a month; or why they aren't known."""

    urn: str
    label: str
    what: str
    idle: float = 0.0
    full: float = 0.0
    unknown: str = ""

    @property
    def is_known(self) -> bool:
        return not self.unknown

    def cost(self, bound: str) -> float:
        return self.idle if bound == "idle" else self.full


@dataclass(frozen=True)
class Estimate:
    """``free``: label → why it costs nothing. What isn't known is in no sum."""

    lines: tuple[Line, ...]
    free: Mapping[str, str]
    usage: Usage

    @property
    def idle(self) -> float:
        return sum(each.idle for each in self.lines)

    @property
    def full(self) -> float:
        return sum(each.full for each in self.lines)

    @property
    def unknown(self) -> tuple[Line, ...]:
        return tuple(each for each in self.lines if not each.is_known)

    def cost(self, bound: str) -> float:
        return self.idle if bound == "idle" else self.full

    def of(self, urns: frozenset[str]) -> Estimate:
        """Of these resources alone."""
        return Estimate(tuple(each for each in self.lines if each.urn in urns), {}, self.usage)

    def dearest(self, bound: str = "full") -> tuple[Line, ...]:
        """All lines that cost something, the dearest first."""
        found = [each for each in self.lines if each.cost(bound) > 0]
        return tuple(sorted(found, key=lambda each: (-each.cost(bound), each.urn, each.what)))


def estimate(
    stack: Stack,
    *,
    usage: Usage | None = None,
    prices: Prices | None = None,
    region: str = "",
    estimators: Mapping[str, Estimator] = ESTIMATORS,
    free: Mapping[str, str] = FREE,
) -> Estimate:
    """What each resource costs in a month of 730 hours.

    Args:
        region: of the AWS resources that name none, where the stack's endpoints don't say it either.
        free: types that cost nothing → why; one may end with ``*``.
    """
    around = Surroundings(stack, usage or assumed())
    region = region or aws_region(stack)
    table = prices or shipped()
    lines: list[Line] = []
    costless: dict[str, str] = {}
    for each in stack.resources:
        if each.type in estimators:
            lines += _lines(each, estimators[each.type], around, table, region)
        elif reason := _reason(each.type, free):
            costless[each.label] = reason
        else:
            lines.append(_unknown(each, "", "the type has no estimator, and isn't known to be free"))
    return Estimate(tuple(lines), costless, around.usage)


def aws_region(stack: Stack) -> str:
    """The region that the stack's endpoints and resources name; empty where they don't agree, or name none."""
    found: Counter[str] = Counter()
    for each in stack.resources:
        if each.type.startswith("aws:"):
            found[_named(each, "region")] += 1
        if each.type == ENDPOINT:
            service = SERVICE.match(_named(each, "serviceName"))
            found[service[1] if service else ""] += 1
    names = found.keys() - {""}
    return next(iter(names)) if len(names) == 1 else ""


def _named(resource: Resource, path: str) -> str:
    try:
        return str(resource.get(path, ""))
    except UnknownValueError:
        return ""


def _lines(resource: Resource, of: Estimator, around: Surroundings, prices: Prices, region: str) -> Iterator[Line]:
    try:
        where = _place(resource, region)
        for charge in of(resource, around):
            yield _line(resource, charge, prices, where)
    except UnknownValueError as error:
        yield _unknown(resource, "", f"{'.'.join(error.props)} isn't known yet")
    except NotEstimated as error:
        yield _unknown(resource, "", str(error))


def _place(resource: Resource, region: str) -> str:
    if resource.type.startswith("azure-native:"):
        return str(resource.get("location", "")).lower().replace(" ", "")
    return str(resource.get("region", "")) or region


def _line(resource: Resource, charge: Charge, prices: Prices, region: str) -> Line:
    if not 0 <= charge.idle <= charge.full:
        return _unknown(resource, charge.what, f"{charge.idle:g} units idle and {charge.full:g} full can't be")
    try:
        price = prices.of(CLOUDS.get(resource.type.partition(":")[0], ""), region, charge.price, charge.share)
    except UnknownPrice as error:
        return _unknown(resource, charge.what, str(error))
    return Line(resource.urn, resource.label, charge.what, charge.idle * price.low, charge.full * price.high)


def _unknown(resource: Resource, what: str, reason: str) -> Line:
    return Line(resource.urn, resource.label, what, unknown=reason)


def _reason(type_: str, free: Mapping[str, str]) -> str:
    if type_ in free:
        return free[type_]
    return next((why for each, why in free.items() if each.endswith("*") and type_.startswith(each[:-1])), "")


__all__ = ["HOURS", "NOT_COUNTED", "Estimate", "Line", "aws_region", "estimate"]
