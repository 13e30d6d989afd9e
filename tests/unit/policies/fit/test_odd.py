"""Whatever stands in a graph, the check says what doesn't fit, or that a value isn't known; it never breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.fit import fit, held
from policies.fit.tell import line
from policies.node import UNKNOWN, Resource, Stack
from policies.rule import UnknownValueError
from tests.unit.policies.fit.worlds import KINDS, World

ODD: list[Any] = [None, "", "x", "*", "1e400", -1, 0, 1e308, True, [], {}, [None], [[]], {"a": []}, "{", "[1]", UNKNOWN]
JSON = ("containerDefinitions", "policy")


def slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in it that something can be put in."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from slots(value[key])


def is_document(text: Any) -> bool:
    return isinstance(text, str) and text.startswith(("{", "[{")) and text.endswith(("}", "]"))


def odd(each: Resource, data: st.DataObject) -> Resource:
    value = copy.deepcopy(each.value)
    if not isinstance(value, dict):
        return each
    inner = next((key for key in JSON if is_document(value.get(key)) and data.draw(st.booleans())), None)
    document = json.loads(value[inner]) if inner else value
    found = list(slots(document))
    if found:
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        given = data.draw(st.sampled_from(ODD))
        holder[key] = None if inner and given is UNKNOWN else given
    if inner:
        value[inner] = json.dumps(document)
    return replace(each, value=value)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=75, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_graph_breaks_it(kind: str, data: st.DataObject) -> None:
    found = list(World(kind).stack().resources)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(found) - 1))
        found[index] = odd(found[index], data)
    stack = Stack(tuple(found))
    try:
        assert all(str(each) for each in fit(stack))
        for each in held(stack):
            list(line(each))
    except UnknownValueError:
        pass


def test_settings_that_ask_for_no_end_of_replicas_are_held_at_once() -> None:
    world = World("instances")
    scale = {"lowest": 1, "highest": 10**12}
    world.serving["models"] = {"parcels": {"placement": "replica", "gpus": 0.3, "cpus": 0.01, "autoscaling": scale}}
    assert {each.check for each in world.misfits()} >= {"replicas"}


@pytest.mark.parametrize("text", ["", ":", "[]", "models: {}", "models: {a: {runtime: x}}", "a: &a [*a]", "\x00"])
def test_settings_that_the_container_would_refuse_are_a_misfit(text: str) -> None:
    [app] = World("app").stack().of_type("azure-native:app:ContainerApp")
    value = copy.deepcopy(app.value)
    value["template"]["containers"][0]["env"][0]["value"] = text
    [misfit] = fit(Stack((replace(app, value=value),)))
    assert misfit.check == "settings"
    assert "it would refuse them" in str(misfit)
