"""The calls in an answer's text, however it comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.huggingface.calls import Hermes, Said

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'

Calls = list[tuple[str, str]]
"""Names and arguments."""


def told(pieces: Sequence[str], most: int | None = None) -> list[Said]:
    parser = Hermes(most)
    return [*(parser.push(piece) for piece in pieces), parser.end()]


def put_together(parts: Sequence[Said]) -> tuple[str, Calls]:
    calls: Calls = []
    for call in [call for part in parts for call in part.calls]:
        if call.name is not None:
            assert call.id
            assert call.index == len(calls)
            calls.append((call.name, ""))
        assert call.index == len(calls) - 1
        calls[-1] = (calls[-1][0], calls[-1][1] + call.arguments)
    return "".join(part.text for part in parts), calls


def read(text: str, most: int | None = None) -> tuple[str, Calls]:
    return put_together(told([text], most))


def test_a_text_without_calls_is_text() -> None:
    assert read("2 < 3, and <tool> is none") == ("2 < 3, and <tool> is none", [])


def test_a_call_is_none_of_the_text() -> None:
    assert read(CALL) == ("", [("look", '{"city": "Rome"}')])
    assert read(f"I look.\n{CALL}") == ("I look.\n", [("look", '{"city": "Rome"}')])


def test_calls_are_several() -> None:
    text, calls = read(f"{CALL}\n{CALL}\n")
    assert text == ""
    assert len(calls) == 2


def test_what_is_said_after_a_call_is_text() -> None:
    assert read(f"{CALL}\nSo I look. And")[0] == "So I look. And"


def test_no_more_than_may_be_are_read() -> None:
    parser = Hermes(1)
    assert len(put_together([parser.push(CALL + CALL)])[1]) == 1
    assert parser.done
    assert parser.push("x") == parser.end() == Said()


def test_arguments_come_as_they_are_made() -> None:
    parts = told(['<tool_call>{"name": "look", "argu', 'ments": {"city"', ': "Ro', 'me"}}</tool_call>'])
    assert [[call.arguments for call in part.calls] for part in parts] == [[], ['{"city"'], [': "Ro'], ['me"}'], []]


def test_a_tag_is_held_until_it_is_one() -> None:
    assert [part.text for part in told(["a <tool", "_call", "> b"])] == ["a ", "", "", "<tool_call> b"]
    assert [part.text for part in told(["a <tool", "s>"])] == ["a ", "<tools>", ""]


@pytest.mark.parametrize(
    "arguments",
    ['{"a": "}"}', '{"a": "\\"}"}', '{"a": [{"b": "]"}]}', '{"a": "</tool_call>"}', '{"a": "<tool_call>"}', "{}"],
)
def test_arguments_end_where_their_object_does(arguments: str) -> None:
    assert read(f'<tool_call>{{"name": "look", "arguments": {arguments}}}</tool_call> x') == (
        "x",
        [("look", arguments)],
    )


def test_keys_may_come_the_other_way_round_or_not_at_all() -> None:
    assert read('<tool_call>{"arguments": {"a": 1}, "name": "look"}</tool_call>') == ("", [("look", '{"a": 1}')])
    assert read('<tool_call>{"name": "look"}</tool_call>') == ("", [("look", "{}")])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "look",
        "[]",
        '{"name": "\\ud800"}',
        '{"name": 3}',
        '{"name": "look", "arguments": 3}',
        '{"arguments": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_call_is_text(body: str) -> None:
    text = f"a <tool_call>{body}</tool_call> b"
    assert read(text) == (text, [])


def test_a_call_that_is_cut_off_is_one_with_the_arguments_that_came() -> None:
    assert read('<tool_call>{"name": "look", "arguments": {"city": "Ro') == ("", [("look", '{"city": "Ro')])


@pytest.mark.parametrize("rest", ["</tool_call>", "}</tool_call>", "</tool_call>\n"])
def test_a_brace_that_is_missing_lets_no_tag_out(rest: str) -> None:
    assert read(f'<tool_call>{{"name": "look", "arguments": {{"city": "Rome"{rest}x')[0] == "x"


def test_a_call_after_one_that_was_not_closed_is_read() -> None:
    assert len(read(f'<tool_call>{{"name": "look", "arguments": {{}}}}\n{CALL}')[1]) == 2


PIECES = st.sampled_from(
    [
        "<tool_call>", "</tool_call>", "<tool", "<", "{", "}", "[", "]", '"', "\\", '"name"', ": ", ", ",
        '"look"', '"arguments"', '{"name": "look", "arguments": ', '{"a": "b"}', " ", "\n", "x", CALL,
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@given(TEXTS, st.lists(st.integers(0, 400)), st.sampled_from([None, 1, 2]))
def test_however_it_is_cut_it_comes_to_the_same(text: str, cuts: list[int], most: int | None) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert put_together(told(pieces, most)) == put_together(told(list(text), most)) == read(text, most)


@given(st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), st.text())), max_size=3))
def test_what_is_written_as_calls_is_read_back(calls: list[tuple[str, dict[str, str]]]) -> None:
    bodies = [json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) for name, arguments in calls]
    text, found = read("\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies))
    assert text == ""
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls
