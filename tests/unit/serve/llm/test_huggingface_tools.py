"""Which tools the Hugging Face engine shows the model, and what a call that must come is held to. Without a model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from serve.llm.deployed.schemas import Part
from serve.llm.huggingface.calls import Hermes
from serve.llm.huggingface.grammars import Grammars, fault, held
from serve.llm.huggingface.refusals import Rejected
from serve.llm.huggingface.request import read
from serve.llm.huggingface.tools import ToolUse

USER = {"role": "user", "content": "x"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NAMED = {"type": "function", "function": {"name": "look"}}

SLOW = {"allOf": [{"type": "string", "pattern": f".*a.{{{count}}}b.*"} for count in range(10, 30)]}
"""Small, and of more states than can be counted."""


def tool(name: str = "look", parameters: object = CITY, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "small", "messages": [USER], **fields}


def used(**fields: Any) -> ToolUse:
    found = read("chat", body(**fields)).tools
    assert found is not None
    return found


def refused(**fields: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(Rejected) as caught:
        read("chat", body(**fields))
    found = caught.value.refused
    return found.status, found.code, found.param


def wrong(*parts: Part) -> tuple[str | None, str]:
    found = fault(parts)
    assert found is not None
    assert (found.refused.status, found.refused.code) == (400, "invalid_value")
    return found.refused.param, found.refused.message


class TestChoice:
    @pytest.mark.parametrize("choice", [None, "auto"])
    def test_the_model_may_choose(self, choice: str | None) -> None:
        found = used(tools=[tool()], tool_choice=choice)
        assert (found.shown, found.held, found.most) == ([tool()], False, None)

    @pytest.mark.parametrize("choice", [None, "none"])
    def test_none_are_shown_where_there_are_none_or_none_may_be_called(self, choice: str | None) -> None:
        assert read("chat", body(tool_choice=choice)).tools is None
        assert read("chat", body(tools=[tool()], tool_choice="none")).tools is None

    def test_a_call_may_be_required_of_any_or_of_one(self) -> None:
        assert used(tools=[tool()], tool_choice="required").held
        found = used(tools=[tool("other"), tool()], tool_choice=NAMED)
        assert (found.held, found.named, found.most) == (True, True, 1)
        # The model is shown the others too.
        assert len(found.shown) == 2

    @pytest.mark.parametrize(("parallel", "most"), [(None, None), (True, None), (False, 1)])
    def test_calls_are_one_or_several(self, parallel: bool | None, most: int | None) -> None:
        for choice in ("auto", "required"):
            assert used(tools=[tool()], tool_choice=choice, parallel_tool_calls=parallel).most == most

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"tool_choice": "auto"}, "tool_choice"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"tool_choice": NAMED}, "tool_choice"),
            ({"tools": []}, "tools"),
            ({"tools": [tool()] * 129}, "tools"),
            ({"tools": [tool()], "tool_choice": "look"}, "tool_choice"),
            ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
            ({"tools": [tool("other")], "tool_choice": NAMED}, "tool_choice"),
            ({"tools": [tool("")]}, "tools.0.function.name"),
            ({"tools": [tool(parameters="no")]}, "tools.0.function.parameters"),
            ({"tools": [tool(), tool(parameters={"type": "string"})]}, "tools.1.function.parameters"),
        ],
    )
    def test_what_is_wrong_is_named(self, fields: dict[str, Any], param: str) -> None:
        status, _, found = refused(**fields)
        assert (status, found) == (400, param)


class TestTried:
    def test_good_ones_are_good(self) -> None:
        for choice in ("auto", "required"):
            assert fault(used(tools=[tool(), tool("other", None)], tool_choice=choice).parts) is None

    @pytest.mark.parametrize("choice", ["auto", "required", NAMED])
    def test_the_tool_that_has_no_schema_is_named(self, choice: Any) -> None:
        bad = tool(parameters={"type": "object", "properties": 3})
        param, said = wrong(*used(tools=[tool("other"), bad], tool_choice=choice).parts)
        assert param == "tools.1.function.parameters"
        # Of the grammar that it is in a client knows nothing.
        assert "properties" in said
        assert "start" not in said

    def test_one_that_takes_forever_is_not_waited_for(self) -> None:
        param, said = wrong(*held("schema", SLOW, strict=False))
        assert param == "schema"
        assert "too long" in said

    def test_what_a_strict_schema_says_is_not_passed_over(self) -> None:
        schema = {"type": "string", "format": "weird"}
        assert fault(held("schema", schema, strict=False)) is None
        assert "weird" in wrong(*held("schema", schema, strict=True))[1]


@pytest.fixture(scope="module")
def tokenizer() -> LLTokenizer:
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"</s>": 256}
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    special = {"id": 256, "content": "</s>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True}
    return LLTokenizer(
        json.dumps({"version": "1.0", "added_tokens": [special | flags], "model": model, "decoder": decoder}),
        eos_token=256,
    )


class TestCalls:
    """The grammar of calls, with each byte a token."""

    def may_be(self, tokenizer: LLTokenizer, text: str, **fields: Any) -> bool:
        matcher: LLMatcher = asyncio.run(Grammars(tokenizer).tried(used(**fields).parts))
        given = text.encode()
        return matcher.deep_copy().validate_tokens([*given, 256]) == len(given) + 1

    @pytest.mark.parametrize(
        ("text", "may"),
        [
            ('<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>', True),
            ('<tool_call>\n{"name": "look", "arguments": {"town": "Rome"}}\n</tool_call>', False),
            ('<tool_call>\n{"name": "find", "arguments": {"city": "Rome"}}\n</tool_call>', False),
            ('<tool_call>\n{"name": "none", "arguments": {}}\n</tool_call>', True),
            ("Rome", False),
            ("", False),
        ],
    )
    def test_are_of_the_tools_and_keep_to_their_schemas(self, tokenizer: LLTokenizer, text: str, may: bool) -> None:
        tools = [tool(), tool("none", None)]
        assert self.may_be(tokenizer, text, tools=tools, tool_choice="required") is may

    @pytest.mark.parametrize(("parallel", "may"), [(True, True), (False, False)])
    def test_are_several_where_they_may_be(self, tokenizer: LLTokenizer, parallel: bool, may: bool) -> None:
        text = "\n".join(['<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'] * 2)
        fields = {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": parallel}
        assert self.may_be(tokenizer, text, **fields) is may

    def test_any_name_is_one_that_is_read_back(self, tokenizer: LLTokenizer) -> None:
        name = 'a "b\\ <c>é'
        text = f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {{}}}}\n</tool_call>'
        assert self.may_be(tokenizer, text, tools=[tool(name, None)], tool_choice="required")
        assert Hermes(None).push(text).calls[0].name == name
