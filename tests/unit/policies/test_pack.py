"""The pack as a whole: no rule without cases, a page, a remedy; and none that raises at what it doesn't expect."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.node import UNKNOWN, Resource, Stack, UnknownValueError
from policies.reading.walk import document
from policies.rule import Rule
from policies.rules import RULES
from policies.testing import Cases
from scripts import list_policies
from tests.documentation import ROOT

PAGE = ROOT / "docs" / "policies.md"
rules = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: str(rule.name))


def cases_of(rule: Rule) -> Sequence[Cases]:
    module = importlib.import_module(f"tests.unit.policies.rules.test_{rule.name.replace('-', '_')}")
    found = module.CASES
    return [found] if isinstance(found, Cases) else list(found)


@rules
def test_a_rule_has_cases_that_pass_that_fail_and_that_it_can_t_know(rule: Rule) -> None:
    found = cases_of(rule)
    assert all(each.rule is rule for each in found)
    assert sum(len(each.passing) for each in found) >= 1
    assert sum(len(each.failing) for each in found) >= 2
    assert sum(len(each.unknown) for each in found) >= 1
    assert any(each.fixed for each in found) == (rule.fix is not None)


@rules
def test_a_rule_says_what_must_be_so_and_what_to_write_instead(rule: Rule) -> None:
    assert rule.description.endswith(".")
    assert rule.remedy
    assert rule.group in list_policies.GROUPS
    assert rule.types
    file = ROOT / "policies" / "rules" / f"{rule.name.replace('-', '_')}.py"
    assert file.exists(), "one rule a file, of the rule's name"


def test_the_names_are_those_under_which_the_pack_knows_them() -> None:
    assert [name for name, rule in RULES.items() if name != rule.name] == []
    assert len(RULES) >= 30


def test_the_page_has_every_rule_as_it_is() -> None:
    page = PAGE.read_text()
    told = "run `python -m scripts.list_policies` and put what it says into docs/policies.md"
    for line in list_policies.lines():
        assert line in page, told
    rows = re.findall(r"^\| `([a-z0-9]+(?:-[a-z0-9]+)+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(RULES), told


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 99)
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(["*", "{}", "[1]", '{"Statement": 1}', '{"Statement": [{"Effect": "Allow", "Action": 3}]}'])
    | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def damaged(given: Any, draw: st.DrawFn) -> Any:
    """The same, and here and there something else in the place of a value; so too in the JSON in a text."""
    if draw(st.integers(0, 7)) == 0:
        return draw(JSON)
    if isinstance(given, str) and (inner := document(given)) is not None:
        return json.dumps(damaged(inner, draw), default=repr)
    if isinstance(given, dict):
        return {key: damaged(each, draw) for key, each in given.items()}
    return [damaged(each, draw) for each in given] if isinstance(given, list) else given


def with_damage(good: Resource, draw: st.DrawFn) -> Resource:
    return replace(good, value={key: damaged(each, draw) for key, each in good.value.items()})


@st.composite
def seen(draw: st.DrawFn, rule: Rule) -> Resource | Stack:
    """One of the rule's own cases, damaged."""
    good = draw(st.sampled_from(draw(st.sampled_from(cases_of(rule))).passing))
    if isinstance(good, Resource):
        return with_damage(good, draw)
    return Stack(tuple(with_damage(each, draw) for each in good.resources))


# The same examples each time: what a wider search finds is for whoever searches, not for everybody's next run.
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@rules
@settings(max_examples=60, derandomize=True, suppress_health_check=QUIET)
@given(data=st.data())
def test_whatever_a_resource_says_a_rule_finds_something_or_nothing_or_does_not_know(
    rule: Rule, data: st.DataObject
) -> None:
    config = cases_of(rule)[0].config
    try:
        found = list(rule.of(data.draw(seen(rule)), config))
    except UnknownValueError:
        return
    assert all(str(each) for each in found)
