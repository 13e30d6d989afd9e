"""Tests of rules: in the process, one mutation at a time, or by the pack's own server, as the CLI asks it.

A rule is held against resources that are right, and against each with one thing changed::

    CASES = Cases(
        ecr_scans_on_push,
        passing=[resource("aws:ecr/repository:Repository", {"imageScanningConfiguration": {"scanOnPush": True}})],
        failing=[
            put("imageScanningConfiguration.scanOnPush", False),
            drop("imageScanningConfiguration"),
        ],
        unknown=["imageScanningConfiguration.scanOnPush"],
    )

    @pytest.mark.parametrize("case", CASES.all(), ids=str)
    def test_ecr_scans_on_push(case: Case) -> None:
        case.check()

Nothing here knows the rules of this pack: those of another are tested alike. A recorded stack goes through
:func:`policies.server.running`; unknown values are :data:`policies.node.UNKNOWN` in the process, and the SDK's
sentinels on the wire.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi_policy.proxy import UnknownValueError

from policies.node import STEP, UNKNOWN, Resource, Stack, Violation
from policies.rule import Rule

Seen = Resource | Stack
Change = Callable[[Any], None]


def resource(
    type_: str,
    inputs: Mapping[str, Any],
    name: str = "it",
    *,
    links: Mapping[str, Sequence[Resource]] | None = None,
    protect: bool = False,
) -> Resource:
    """``inputs``: in camelCase, as Pulumi's engine has them. ``links``: property → the resources it comes from."""
    return Resource(
        dict(inputs),
        type=type_,
        name=name,
        urn=f"urn:pulumi:test::test::{type_}::{name}",
        protect=protect,
        links={key: tuple(each.urn for each in found) for key, found in (links or {}).items()},
    )


def stack(*resources: Resource) -> Stack:
    return Stack(resources)


def found(rule: Rule, seen: Seen, config: Mapping[str, Any] | None = None) -> list[Violation]:
    """What a rule finds.

    Raises:
        UnknownValueError: it says that it can't be held.
    """
    if isinstance(seen, Resource) and not rule.looks_at(seen.type):
        raise AssertionError(f"{rule.name} doesn't look at {seen.type}: the case would always pass")
    return list(rule.of(seen, config))


@dataclass(frozen=True)
class Mutation:
    """One change of one resource. ``at``: its name, where a stack has several."""

    says: str
    change: Change
    at: str = ""

    def of(self, seen: Seen) -> Seen:
        """The same, but for this change.

        Raises:
            LookupError: there is nothing to change: the case would not test what it says.
        """
        if isinstance(seen, Resource):
            return self._changed(seen)
        names = [each.name for each in seen.resources]
        if names.count(self.at or names[0]) != 1:
            raise LookupError(f"{self.says}: {self.at!r} names {names.count(self.at)} of {', '.join(names)}")
        target = self.at or names[0]
        return Stack(tuple(self._changed(each) if each.name == target else each for each in seen.resources))

    def _changed(self, given: Resource) -> Resource:
        value = copy.deepcopy(given.value)
        self.change(value)
        return replace(given, value=value)


def put(path: str, value: Any, at: str = "") -> Mutation:
    """``value`` where ``path`` leads, which must be there but for its last step."""

    def change(inputs: Any) -> None:
        holder, last = _holder(inputs, path)
        holder[last] = value

    return Mutation(f"{path} = {value!r}", change, at)


def drop(path: str, at: str = "") -> Mutation:
    """Without what is at ``path``."""

    def change(inputs: Any) -> None:
        holder, last = _holder(inputs, path)
        del holder[last]

    return Mutation(f"no {path}", change, at)


def gone(at: str) -> Callable[[Seen], Seen]:
    """A stack without one of its resources."""

    def change(seen: Seen) -> Seen:
        if not isinstance(seen, Stack) or all(each.name != at for each in seen.resources):
            raise LookupError(f"no resource {at}")
        return Stack(tuple(each for each in seen.resources if each.name != at))

    return change


Broken = Mutation | Resource | Stack | Callable[[Seen], Seen]


@dataclass(frozen=True)
class Case:
    """One resource or stack, and what the rule must say: nothing, something, or that a value isn't known."""

    rule: Rule
    seen: Seen
    expects: str
    says: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.says}"

    def check(self) -> None:
        """Raises:
        AssertionError: the rule says something else.
        """
        try:
            violations = found(self.rule, self.seen, self.config)
        except UnknownValueError as error:
            if self.expects != "unknown":
                raise AssertionError(f"{self}: could not be held: {error.message}") from error
            return
        if self.expects == "unknown":
            raise AssertionError(f"{self}: passed over a value that isn't known, with {violations or 'nothing said'}")
        if bool(violations) != (self.expects == "failing"):
            raise AssertionError(f"{self}: expected {self.expects}, got {[str(each) for each in violations]}")


@dataclass(frozen=True)
class Cases:
    """A rule's cases. What fails is the first that passes with one change, or another resource altogether.

    ``unknown``: paths of which the rule must say that it doesn't know them; or mutations of them, in a stack.
    ``fixed``: the rule has a fix, after which each of the failing ones passes.
    """

    rule: Rule
    passing: Sequence[Seen]
    failing: Sequence[Broken]
    unknown: Sequence[str | Mutation] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    fixed: bool = False

    def all(self) -> list[Case]:
        return list(self._all())

    def _all(self) -> Iterator[Case]:
        good = self.passing[0]
        for index, seen in enumerate(self.passing):
            yield self._case(seen, "passing", f"passes ({index})")
        for index, broken in enumerate(self.failing):
            says = broken.says if isinstance(broken, Mutation) else f"({index})"
            bad = _broken(good, broken)
            yield self._case(bad, "failing", f"refuses {says}")
            if self.fixed:
                yield self._case(mended(self.rule, bad), "passing", f"mends {says}")
        for each in self.unknown:
            mutation = put(each, UNKNOWN) if isinstance(each, str) else each
            yield self._case(mutation.of(good), "unknown", f"says that it doesn't know: {mutation.says}")

    def _case(self, seen: Seen, expects: str, says: str) -> Case:
        return Case(self.rule, seen, expects, says, self.config)


def mended(rule: Rule, seen: Seen) -> Resource:
    """The resource as the rule's fix leaves it.

    Raises:
        TypeError: the rule has no fix, or sees a whole stack.
    """
    if rule.fix is None or not isinstance(seen, Resource):
        raise TypeError(f"{rule.name} has no fix of a resource")
    inputs = copy.deepcopy(seen.value)
    rule.fix(inputs)
    return replace(seen, value=inputs)


def _broken(good: Seen, broken: Broken) -> Seen:
    if isinstance(broken, Mutation):
        return broken.of(good)
    return broken if isinstance(broken, Resource | Stack) else broken(good)


def _holder(inputs: Any, path: str) -> tuple[Any, Any]:
    """What holds the last step of ``path``, and that step."""
    steps: list[Any] = [int(step[1:-1]) if step.startswith("[") else step for step in STEP.findall(path)]
    holder = inputs
    for step in steps[:-1]:
        holder = holder[step]
    return holder, steps[-1]
