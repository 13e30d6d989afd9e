"""Ports: where the ingress listens is where all that leads to it goes, and a way leads from it to its ledger."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from policies.fit.misfit import Change, Misfit
from policies.fit.place import Place
from policies.fit.places.ecs_task import SECURITY_GROUP, EcsTask
from policies.node import Node, Resource
from policies.reading.amounts import whole_or

POSTGRESQL = re.compile(r"postgresql://(?:[^@/?]*@)?(?P<hosts>[^/?]+).*")
SAYS_MORE = re.compile(r"[?&](host|hostaddr|port|service)=")
DEFAULT_PORT = 5432


def ports(place: Place) -> Iterator[Misfit]:
    port = place.settings.http.port
    wires = list(place.ports())
    others = {str(each.value) for each in wires}
    for each in wires:
        if whole_or(each.value, -1) == port:
            continue
        agreed = len(others) == 1 and isinstance(each.value, int | float) and each.value > 0
        change = place.in_serving("http.port", int(each.value)) if agreed else Change("the program", each.name, port)
        yield place.misfit(
            "ports",
            each.node.path,
            f"http.port is {port}",
            f"{each.name} is {each.value}",
            f"{port}",
            (change,),
        )
    if isinstance(place, EcsTask):
        yield from _doors(place, port)
        yield from _to_ledger(place)


def _doors(place: EcsTask, port: int) -> Iterator[Misfit]:
    """The tasks' security groups let the port in, and those before them let it out."""
    groups = place.security_groups()
    for group in groups:
        yield from _open(place, group, "ingress", port)
        for front in place.stack.linked(group, "ingress", SECURITY_GROUP):
            yield from _open(place, front, "egress", port)


def _to_ledger(place: EcsTask) -> Iterator[Misfit]:
    """One of the tasks' security groups lets them out to where the ledger's database is."""
    groups = place.security_groups()
    rules = [list(group.each("egress")) for group in groups]
    # A group without rules of its own has them as resources beside it.
    if not all(rules):
        return
    found = list(itertools.chain.from_iterable(rules))
    for port in _ports_of(place.settings.usage.ledger or ""):
        if not any(_covers(each, port) for each in found):
            names = ", ".join(group.name for group in groups)
            yield place.misfit(
                "ports",
                "",
                f"usage.ledger is at port {port}",
                f"security groups {names} have no rule (egress) for it: {_listed(found)}",
                f"a rule for {port}",
                (Change("the program", f"egress of security group {groups[-1].name}", port),),
            )


def _ports_of(ledger: str) -> list[int]:
    """Of each host in the URL; none where it is no PostgreSQL's, or its query says more of them."""
    url = POSTGRESQL.fullmatch(ledger)
    if url is None or SAYS_MORE.search(ledger):
        return []
    ends = [host.rpartition(":")[2] for host in url["hosts"].split(",")]
    return list(dict.fromkeys(int(each) if each.isdecimal() else DEFAULT_PORT for each in ends))


def _open(place: EcsTask, group: Resource, way: str, port: int) -> Iterator[Misfit]:
    rules = list(group.each(way))
    # Without rules of its own it has them as resources beside it.
    if not rules or any(_covers(each, port) for each in rules):
        return
    yield place.misfit(
        "ports",
        way,
        f"http.port is {port}",
        f"security group {group.name} has no rule ({way}) for it: {_listed(rules)}",
        f"a rule for {port}",
        (Change("the program", f"{way} of security group {group.name}", port),),
    )


def _covers(rule: Node, port: int) -> bool:
    first, last = whole_or(rule.get("fromPort"), 1), whole_or(rule.get("toPort"))
    return str(rule.get("protocol")) == "-1" or first <= port <= last


def _listed(rules: Sequence[Node]) -> str:
    found = [each.get("fromPort") for each in rules]
    return ", ".join(str(each) for each in found)
