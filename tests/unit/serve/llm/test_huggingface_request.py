"""What may be asked of the Hugging Face engine, and how an answer's text comes of its tokens. Without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.llm.backend import Operation
from serve.llm.deployed.messages import Refused
from serve.llm.huggingface.plan import environment, plan
from serve.llm.huggingface.refusals import Rejected
from serve.llm.huggingface.request import COMPLETION_TOKENS, Asked, for_template, read
from serve.llm.huggingface.text import UNFINISHED, Text
from serve.llm.settings import HuggingFace

USER = {"role": "user", "content": "x"}

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(TEXT, x, max_size=4),
    max_leaves=8,
)


def chat(**fields: Any) -> Asked:
    return read("chat", {"model": "small", "messages": [USER], **fields})


def complete(prompt: object, **fields: Any) -> Asked:
    return read("completions", {"model": "small", "prompt": prompt, **fields})


def refused(operation: Operation, **fields: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(Rejected) as caught:
        read(operation, {"model": "small", **fields})
    found = caught.value.refused
    return found.status, found.code, found.param


class TestRequest:
    def test_what_is_not_said_is_openais_default(self) -> None:
        asked = chat()
        assert (asked.n, asked.sampling.temperature, asked.sampling.top_p, asked.most_tokens) == (1, 1.0, 1.0, None)
        assert complete("x").most_tokens == COMPLETION_TOKENS

    def test_null_is_as_good_as_nothing(self) -> None:
        assert chat(temperature=None, stop=None, n=None, tools=None, logit_bias=None) == chat()

    def test_zero_is_not_nothing(self) -> None:
        assert chat(temperature=0).sampling.temperature == 0
        assert chat(top_p=0).sampling.top_p == 0

    def test_the_newer_name_of_a_bound_goes_first(self) -> None:
        assert chat(max_tokens=9, max_completion_tokens=3).most_tokens == 3

    @pytest.mark.parametrize(("stop", "stops"), [("a", ("a",)), (["a", "b"], ("a", "b"))])
    def test_stops_are_one_or_several(self, stop: object, stops: tuple[str, ...]) -> None:
        assert chat(stop=stop).stops == stops

    @pytest.mark.parametrize(
        ("prompt", "prompts"),
        [("a", ["a"]), ([1, 2], [[1, 2]]), (["a", "b"], ["a", "b"]), ([[1], [2]], [[1], [2]])],
    )
    def test_prompts_are_texts_or_tokens(self, prompt: object, prompts: list[object]) -> None:
        assert complete(prompt).prompts == prompts

    @pytest.mark.parametrize("prompt", [None, 3, [], [[]], [None], [True], {"a": 1}, ["a", 1]])
    def test_no_others_are(self, prompt: object) -> None:
        assert refused("completions", prompt=prompt) == (400, "invalid_type", "prompt")

    def test_parts_of_text_are_one(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert chat(messages=[{"role": "user", "content": parts}]).messages == [{"role": "user", "content": "ab"}]

    def test_templates_see_their_own_roles_and_arguments(self) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
        asked = chat(
            messages=[
                {"role": "developer", "content": "x"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "y", "tool_call_id": "1"},
            ]
        )
        shown = for_template(asked.messages)
        assert [message["role"] for message in shown] == ["system", "assistant", "tool"]
        assert shown[1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
        assert shown[1]["content"] == ""

    def test_an_answer_may_be_sent_back_as_it_came(self) -> None:
        call = {"id": "1", "index": 0, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        said = {"role": "assistant", "content": None, "tool_calls": [call], "audio": None, "function_call": None}
        [_, back] = for_template(chat(messages=[USER, said]).messages)
        called = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {}}}
        assert back == {"role": "assistant", "content": "", "tool_calls": [called]}

    def test_a_template_is_shown_no_calls_where_there_are_none(self) -> None:
        said = {"role": "assistant", "content": "x", "tool_calls": []}
        assert chat(messages=[USER, said]).messages[1] == {"role": "assistant", "content": "x"}

    def test_what_was_not_read_of_a_calls_arguments_says_nothing(self) -> None:
        function = {"name": "look", "arguments": "{}", "parsed_arguments": None}
        said = {
            "role": "assistant",
            "content": "x",
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        }
        [_, back] = for_template(chat(messages=[USER, said]).messages)
        assert back["tool_calls"][0]["function"] == {"name": "look", "arguments": {}}

    def test_a_refusal_is_what_was_said(self) -> None:
        said = {"role": "assistant", "content": None, "refusal": "No."}
        assert chat(messages=[USER, said]).messages[1] == {"role": "assistant", "content": "No."}

    def test_what_another_server_says_in_it_is_not_passed_over(self) -> None:
        said = {"role": "assistant", "content": "x", "audio": {"id": "1"}}
        assert refused("chat", messages=[USER, said])[0] == 400

    def test_arguments_that_are_none_are_an_empty_object(self) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": ""}}
        asked = chat(messages=[USER, {"role": "assistant", "content": "x", "tool_calls": [call]}])
        assert for_template(asked.messages)[1]["tool_calls"][0]["function"]["arguments"] == {}

    def test_arguments_that_are_no_json_are_shown_as_they_came(self) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{a"}}
        asked = chat(messages=[USER, {"role": "assistant", "content": "x", "tool_calls": [call]}])
        assert for_template(asked.messages)[1]["tool_calls"] == [call]

    def test_json_is_any_or_of_a_schema(self) -> None:
        assert chat(response_format={"type": "text"}).held == ()
        [part] = chat(response_format={"type": "json_object"}).held
        assert part.text.startswith('start: %json {"type": "object"')
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}}
        [part] = chat(response_format=form).held
        assert part.text.startswith('start: %json {"type": "integer"')
        assert refused("chat", messages=[USER], response_format={"type": "json_schema"})[2] == (
            "response_format.json_schema"
        )

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"frobnicate": 1}, "unknown_parameter", "frobnicate"),
            ({"n": "2"}, "invalid_type", "n"),
            ({"n": True}, "invalid_type", "n"),
            ({"seed": 2**63}, "invalid_value", "seed"),
            ({"logit_bias": {"a": 1}}, "invalid_value", "logit_bias"),
            ({"logit_bias": {"1": 1000}}, "invalid_value", "logit_bias.1"),
            ({"top_logprobs": 1}, "invalid_value", "top_logprobs"),
            ({"stop": [""]}, "invalid_value", "stop.0"),
            ({"temperature": 2.5}, "invalid_value", "temperature"),
        ],
    )
    def test_what_is_wrong_is_named(self, fields: dict[str, Any], code: str, param: str) -> None:
        assert refused("chat", messages=[USER], **fields) == (400, code, param)

    def test_best_of_more_than_are_given_is_not_made(self) -> None:
        assert complete("x", n=2, best_of=2).n == 2
        assert refused("completions", prompt="x", best_of=3)[2] == "best_of"

    @pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "x"}, {"reasoning_effort": "high"}, {"store": True}])
    def test_what_openai_has_and_this_engine_has_not_is_named(self, fields: dict[str, Any]) -> None:
        assert complete("x", echo=False, suffix="", store=False) == complete("x")
        assert refused("completions", prompt="x", **fields) == (400, "unsupported_parameter", *fields)

    @given(st.dictionaries(st.sampled_from(["messages", "stop", "n", "tools", "tool_choice", "response_format"]), JSON))
    def test_any_body_is_read_or_refused(self, fields: dict[str, Any]) -> None:
        try:
            found: object = chat(**fields)
        except Rejected as error:
            found = error.refused
        assert isinstance(found, Asked) or (isinstance(found, Refused) and found.status == 400)


def decode(tokens: Sequence[int]) -> str:
    """Each token a byte."""
    return bytes(tokens).decode(errors="replace")


def told(text: str, stops: Sequence[str], *, each: int = 1) -> tuple[list[str], bool]:
    made = Text(decode, stops)
    parts = []
    for byte in text.encode():
        parts.append(made.push(byte))
        if made.stopped:
            return parts, True
    return [*parts, made.end()], made.stopped


class TestText:
    def test_comes_as_its_tokens_do(self) -> None:
        assert told("abc", ()) == (["a", "b", "c", ""], False)

    def test_a_character_of_several_tokens_comes_whole(self) -> None:
        assert told("aé", ()) == (["a", "", "é", ""], False)

    def test_what_is_no_character_in_the_end_is_told_as_such(self) -> None:
        made = Text(decode, ())
        assert made.push(0xC3) == ""
        assert made.end() == UNFINISHED

    def test_a_stop_and_what_follows_are_not_told(self) -> None:
        parts, stopped = told("one two three", ("two",))
        assert ("".join(parts), stopped) == ("one ", True)

    def test_what_may_become_a_stop_is_held_no_longer_than_that(self) -> None:
        assert told("abxaby", ("aby",)) == (["", "", "abx", "", "", ""], True)

    def test_the_first_of_several_stops_counts(self) -> None:
        parts, _ = told("abcdef", ("ef", "cde", "zz"))
        assert "".join(parts) == "ab"

    @given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=4), max_size=4))
    def test_is_all_up_to_the_first_stop(self, text: str, stops: list[str]) -> None:
        parts, stopped = told(text, stops)
        ends = {at + len(stop): at for stop in stops if (at := text.find(stop)) >= 0}
        assert stopped == bool(ends)
        made = "".join(parts)
        assert text.startswith(made)
        assert not any(stop in made for stop in stops)
        if not ends:
            assert made == text


class TestPlan:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "config.json").write_text("{}")
        return tmp_path

    def test_takes_what_waits_beside_what_is_worked_on(self, folder: Path) -> None:
        found = plan("small", settings(folder, sequences=3, cpus=2.0), on_loopback=True)
        assert found.calls == 6
        assert found.resources == {"ray_actor_options": {"num_cpus": 2.0, "num_gpus": 0}}

    def test_a_folder_needs_no_hub(self, folder: Path) -> None:
        assert environment(settings(folder))["HF_HUB_OFFLINE"] == "1"
        assert "HF_HUB_OFFLINE" not in environment(settings("hub/model"))

    def test_threads_are_the_cpus(self, folder: Path) -> None:
        assert environment(settings(folder, cpus=3.5))["OMP_NUM_THREADS"] == "3"
        assert "OMP_NUM_THREADS" not in environment(settings(folder, gpus=1.0))

    def test_a_model_is_on_one_gpu(self, folder: Path) -> None:
        with pytest.raises(ValidationError):
            settings(folder, gpus=2.0)


def settings(model: Path | str, **fields: Any) -> HuggingFace:
    return HuggingFace.model_validate({"kind": "huggingface", "model": str(model), **fields})
