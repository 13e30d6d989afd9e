"""A pack of rules is asked over gRPC, as the Pulumi CLI asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policies.server import Pack, PackError, read_config, running
from tests.documentation import ROOT

PACK = '''
import sys
sys.path.insert(0, {root!r})
from pulumi_policy import PolicyPack
from policies.rule import RuleConfig, Severity, rule, stack_rule

class Bounds(RuleConfig):
    most: int = 3

def clip(inputs):
    inputs["size"] = 3

@rule("size-bounded", "t:m:Box", group="g", severity=Severity.HIGH, remedy="size=3", config=Bounds, fix=clip)
def bounded(box, config):
    """Boxes are small."""
    if box.get("size") > config.most:
        yield box.violation("size", f"at most {{config.most}}", box.get("size"))

@rule("box-named", "t:m:Box", group="g", severity=Severity.LOW, remedy="name")
def named(box):
    """Boxes have names."""
    if box.get("size") == 666:
        raise KeyError("boom")
    return box.require("name", "a name")

@stack_rule("few-boxes", "t:m:Box", group="g", severity=Severity.CRITICAL, remedy="make fewer")
def few(stack):
    """There are not many boxes."""
    boxes = stack.of_type("t:m:Box")
    inside = [each for each in boxes if stack.linked(each, "in", "t:m:Box")]
    if len(boxes) > 1:
        yield boxes[1].violation("", "one box", f"{{len(boxes)}}, {{len(inside)}} in another")

PolicyPack("boxes", [each.policy() for each in (bounded, named, few)])
'''


@dataclass(frozen=True)
class Box:
    """As a recorder keeps a resource."""

    raw: dict[str, Any]
    name: str = "a"
    type: str = "t:m:Box"
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:dev::p::{self.type}::{self.name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    (folder / "__main__.py").write_text(PACK.format(root=str(ROOT)))
    return folder


@pytest.fixture(scope="module")
def pack(folder: Path) -> Iterator[Pack]:
    with running(folder) as pack:
        yield pack


@pytest.fixture(autouse=True)
def _configured(request: pytest.FixtureRequest) -> None:
    if "pack" in request.fixturenames:
        request.getfixturevalue("pack").configure({})


def test_the_pack_says_what_its_rules_are(pack: Pack) -> None:
    bounded, named, few = pack.policies()
    assert (bounded.name, bounded.description, bounded.level, bounded.remedy) == (
        "size-bounded",
        "Boxes are small.",
        "mandatory",
        "size=3",
    )
    assert bounded.properties["most"]["type"] == "integer"
    assert bounded.properties["most"]["default"] == 3
    assert [named.name, few.name] == ["box-named", "few-boxes"]


def test_what_is_right_is_not_refused(pack: Pack) -> None:
    assert pack.analyze([Box({"size": 3, "name": "x"})]) == []


def test_a_refusal_names_the_resource_the_rule_what_came_and_what_to_write(pack: Pack) -> None:
    [refusal] = pack.analyze([Box({"size": 4, "name": "x"}, "big")])
    assert refusal.mandatory
    assert refusal.severity == "high"
    assert str(refusal) == (
        "t:m:Box big: Boxes are small. size: expected at most 3, got 4. Instead: size=3 [size-bounded]"
    )


def test_other_types_are_not_looked_at(pack: Pack) -> None:
    assert pack.analyze([Box({"size": 99}, type="t:m:Crate")]) == []


def test_a_value_that_a_preview_does_not_know_is_told_and_refuses_nothing(pack: Pack) -> None:
    [told] = pack.analyze([Box({"size": UNKNOWN_STRING_VALUE, "name": "x"})][:1])[:1]
    assert told.is_unknown
    assert not told.mandatory
    assert told.unknown == "string value at .size can't be known during preview"


def test_a_rule_of_the_stack_sees_all_of_it_and_what_comes_from_what(pack: Pack) -> None:
    one = Box({"size": 1, "name": "x"})
    two = Box({"size": 1, "name": "x"}, "b", property_dependencies={"in": (one.urn,)})
    [refusal] = pack.analyze([one, two])
    assert refusal.urn == two.urn
    assert "got 2, 1 in another" in refusal.message


def test_a_stack_s_config_sets_levels_and_bounds(pack: Pack) -> None:
    pack.configure({"all": "disabled", "size-bounded": {"enforcementLevel": "advisory", "most": 9}})
    assert pack.levels == {"size-bounded": "advisory", "box-named": "disabled", "few-boxes": "disabled"}
    assert pack.analyze([Box({"size": 9})]) == []
    [refusal] = pack.analyze([Box({"size": 10})])
    assert not refusal.mandatory


def test_inputs_are_mended_where_the_level_is_remediate(pack: Pack) -> None:
    assert pack.remediated(Box({"size": 9, "name": "x"})) == {"size": 9, "name": "x"}
    pack.configure({"size-bounded": "remediate"})
    assert pack.remediated(Box({"size": 9, "name": "x"})) == {"size": 3, "name": "x"}
    assert pack.remediated(Box({"size": 9, "name": UNKNOWN_STRING_VALUE})) == {"size": 3, "name": UNKNOWN_STRING_VALUE}
    assert pack.remediated(Box({"size": 3, "name": "x"})) == {"size": 3, "name": "x"}


def test_a_rule_that_raises_is_an_error_that_names_the_resource(pack: Pack) -> None:
    with pytest.raises(PackError, match=r"Box::cursed: Analyze of the pack: .*boom"):
        pack.analyze([Box({"size": 666, "name": "x"}, "cursed")])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"size-bound": "advisory"}, "names the rule size-bound, which the pack doesn't have"),
        ({"size-bounded": "strict"}, "size-bounded: 'strict', expected one of advisory, mandatory"),
        ({"size-bounded": {"least": 1}}, "size-bounded: least: expected one of most"),
        ({"box-named": {"most": 1}}, "box-named: most: expected one of none"),
        ({"box-named": False}, "box-named: False, expected a level or an object"),
        ({"box-named": None}, "box-named: None, expected a level or an object"),
        ({"box-named": 3}, "box-named: 3, expected a level or an object"),
        ({"box-named": ["mandatory"]}, r"box-named: \['mandatory'\], expected a level or an object"),
        ({"box-named": {"enforcementLevel": {}}}, "box-named: {}, expected one of advisory"),
        ({"all": ["mandatory"]}, r"\['mandatory'\], expected one of advisory"),
    ],
)
def test_a_config_that_the_pack_does_not_take_is_refused(pack: Pack, config: dict[str, Any], said: str) -> None:
    with pytest.raises(PackError, match=said):
        pack.configure(config)


def test_a_value_that_the_rule_does_not_take_is_an_error_that_names_it(pack: Pack) -> None:
    pack.configure({"size-bounded": {"most": "many"}})
    with pytest.raises(PackError, match=r"the config of size-bounded: most: .*got 'many'"):
        pack.analyze([Box({"size": 1, "name": "x"})])


def test_a_pack_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("raise RuntimeError('no rules today')")
    with pytest.raises(PackError, match="does not start: RuntimeError: no rules today"), running(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_config_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dev.json").write_text(text)
    with pytest.raises(PackError, match=r"dev.json"):
        read_config(tmp_path / "dev.json")
    (tmp_path / "dev.json").write_text(json.dumps({"all": "advisory"}))
    assert read_config(tmp_path / "dev.json") == {"all": "advisory"}
