"""Values as rules read them: by path, and never past what isn't known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.node import UNKNOWN, Node, Resource, Stack, UnknownValueError, Violation
from policies.testing import resource

TEXT = json.dumps({"Statement": [{"Action": "*"}]})
NODE = Node({"a": {"b": [{"c": 1}, {"c": UNKNOWN}]}, "text": TEXT, "no": UNKNOWN}, urn="mine")


def test_a_value_is_read_by_its_path() -> None:
    assert NODE.get("a.b[0].c") == 1
    assert NODE.at("a.b[0]").get("c") == 1
    assert NODE.at("a.b[0].c").path == "a.b[0].c"


@pytest.mark.parametrize("path", ["x", "a.x", "a.b[9].c", "a.b.c", "text.x", "a[0]"])
def test_where_nothing_is_there_is_none_or_the_default(path: str) -> None:
    assert NODE.get(path) is None
    assert NODE.get(path, 5) == 5


@pytest.mark.parametrize("path", ["no", "no.below", "a", "a.b", "a.b[1].c"])
def test_what_is_not_known_or_has_something_unknown_in_it_is_not_given(path: str) -> None:
    with pytest.raises(UnknownValueError):
        NODE.get(path)


def test_the_elements_of_a_list_are_given_one_by_one_so_that_the_known_ones_are_read() -> None:
    first, second = NODE.each("a.b")
    assert first.get("c") == 1
    assert second.path == "a.b[1]"
    with pytest.raises(UnknownValueError):
        second.get("c")


def test_a_value_that_is_no_list_is_one_element_and_none_is_none() -> None:
    assert [each.path for each in NODE.each("a")] == ["a"]
    assert list(NODE.each("absent")) == []
    with pytest.raises(UnknownValueError):
        list(NODE.each("no"))


def test_a_text_that_is_json_is_read_with_the_path_going_on() -> None:
    inner = NODE.document("text")
    assert inner is not None
    assert inner.at("Statement[0].Action") == Node("*", "text.Statement[0].Action", "mine")
    assert NODE.document("a.b[0].c") is None
    with pytest.raises(UnknownValueError):
        NODE.document("no")


def test_what_is_expected_and_what_came_are_said_on_one_line() -> None:
    [found] = Node({"a": "x\ny"}).expect("a", "z", None)
    assert found == Violation("a", "z or None", "x\ny")
    assert str(found) == "a: expected z or None, got x y"
    assert list(Node({"a": "z"}).expect("a", "z")) == []
    assert [str(each) for each in Node({}).require("a", "a key")] == ["a: expected a key, got None"]
    assert len(str(Violation("a", "b", "c" * 9999))) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "c", "[0]", "[1]"]), min_size=1, max_size=4))
def test_reading_gives_a_known_value_or_says_that_it_is_not_known(value: Any, steps: list[str]) -> None:
    path = ".".join(steps).replace(".[", "[")
    try:
        found = Node(value).get(path)
    except UnknownValueError:
        return
    assert "unknown" not in repr(found) or found == "unknown"


def test_a_violation_names_the_resource_however_deep_it_was_found() -> None:
    [first, _] = NODE.each("a.b")
    assert first.violation("c", "2", 1) == Violation("a.b[0].c", "2", 1, "mine")


def test_a_stack_knows_what_comes_from_what() -> None:
    bucket = resource("aws:s3/bucket:Bucket", {}, "data")
    block = resource("aws:s3/block:Block", {"bucket": "data"}, "closed", links={"bucket": [bucket]})
    stack = Stack((bucket, block))
    assert stack.linking(bucket, "bucket", "aws:s3/block:Block") == (block,)
    assert stack.linked(block, "bucket", "aws:s3/bucket:Bucket") == (bucket,)
    assert stack.linked(block, "other", "aws:s3/bucket:Bucket") == ()
    assert isinstance(bucket, Resource)
    assert bucket.label == "aws:s3/bucket:Bucket data"
