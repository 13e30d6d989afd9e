"""A recorded stack held against the policy pack, by the pack's own server, as ``pulumi preview`` holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from console import UserError, one_line
from infra.check.record import Recording
from policies.rule import RuleConfigError
from policies.rules import RULES
from policies.rules.monthly_cost_within_budget import Bound
from policies.server import PackError, Refusal, read_config, running

GRAVITY = ("", "low", "medium", "high", "critical")

COST = "monthly-cost-within-budget"

FOLDER = Path(__file__).parents[2] / "policies"


class PolicyError(UserError):
    """The stack's config of the pack can't be read, or is none that the pack takes; or a rule of it fails."""


@dataclass(frozen=True)
class Held:
    """``levels``: of the rules, by the stack's ``config``."""

    refusals: tuple[Refusal, ...]
    levels: dict[str, str]
    config: Mapping[str, Any]

    @property
    def mandatory(self) -> list[Refusal]:
        return [each for each in self.refusals if each.mandatory]

    @property
    def advice(self) -> list[Refusal]:
        return [each for each in self.refusals if not each.mandatory]

    @property
    def bound(self) -> Bound:
        """What the stack's config says of a month's cost.

        Raises:
            PolicyError: the rule doesn't take it. The pack says so too, unless the rule is disabled.
        """
        given = self.config.get(COST, {})
        settings = {} if isinstance(given, str) else {k: v for k, v in given.items() if k != "enforcementLevel"}
        try:
            return Bound.model_validate(settings)
        except ValidationError as error:
            raise PolicyError(str(RuleConfigError(COST, error))) from error


def config_file(folder: Path, stack: str) -> Path:
    """What ``--policy-pack-config`` takes for this stack. ``folder``: that of ``Pulumi.yaml``."""
    return folder / "policies" / "config" / f"{stack}.json"


def held(recording: Recording, folder: Path) -> Held:
    """What the pack says of the stack, with the stack's own config where there is one.

    Raises:
        PolicyError: the config is not the pack's, or a rule fails.
    """
    file = config_file(folder, recording.stack)
    try:
        config = read_config(file) if file.exists() else {}
        with running(FOLDER, config, stack=recording.stack) as pack:
            return Held(tuple(pack.analyze(recording.resources)), pack.levels, config)
    except PackError as error:
        raise PolicyError(str(error)) from error


def told(refusals: Sequence[Refusal]) -> Iterator[str]:
    """Each rule with what it refuses below it, a line a violation; the gravest rules first."""
    by_rule: dict[str, list[Refusal]] = {}
    for each in refusals:
        by_rule.setdefault(each.rule, []).append(each)
    for name, found in sorted(by_rule.items(), key=lambda item: (-GRAVITY.index(item[1][0].severity), item[0])):
        rule = RULES[name]
        yield f"{name} ({rule.severity.value}): {rule.description} Instead: {rule.remedy}"
        for each in sorted(found, key=lambda each: (each.label, each.message)):
            said = each.message.removeprefix(f"{rule.description}\n").removesuffix(f". Instead: {rule.remedy}")
            yield f"  {each.label}: {one_line(f'not held: {each.unknown}' if each.is_unknown else said)}"


def rules_table(recording: Recording, found: Held) -> Iterator[str]:
    """The pack's rules, one a line: how strict the stack is, what each looked at, what it refused."""
    refused = Counter(each.rule for each in found.mandatory)
    advised = Counter(each.rule for each in found.advice)
    width = max(map(len, RULES))
    for name, rule in sorted(RULES.items()):
        seen = sum(rule.looks_at(each.type) for each in recording.resources)
        advice = f", advice {advised[name]}" if advised[name] else ""
        yield f"  {name:<{width}}  {found.levels[name]:<9}  matched {seen:>3}  refused {refused[name]}{advice}"
