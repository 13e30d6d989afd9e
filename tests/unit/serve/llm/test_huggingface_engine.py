"""What the Hugging Face engine does around a model, whose place something has that says what it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from serve.llm.backend import Operation
from serve.llm.deployed.engine import Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.deployed.schemas import TRIED_AT_ONCE
from serve.llm.huggingface import grammars
from serve.llm.huggingface.engine import HuggingFaceEngine
from serve.llm.huggingface.grammars import Grammars
from serve.llm.huggingface.model import Loaded, _silent
from serve.llm.huggingface.refusals import rejected
from serve.llm.huggingface.sampling import Sampler, Token

CALL = '<tool_call>{"name":"look","arguments":{}}</tool_call>'
WORDS = ("[END]", "[UNK]", "late", CALL)
TOOLS = [{"type": "function", "function": {"name": "look"}}]

LONG = "é€" * 2**22


class Says:
    """See :class:`serve.llm.huggingface.generation.Generation`."""

    def __init__(self, word: str) -> None:
        self._word = word

    async def generate(self, prompt: list[int], most: int, sampler: Sampler) -> None:
        for token in (WORDS.index(self._word), 0):
            sampler._tell(Token(token, None))

    def running(self) -> int:
        return 0

    def alive(self) -> bool:
        return True

    def stop(self) -> None: ...


def engine(
    word: str = "late",
    *,
    tool_parser: str | None = None,
    template: str = "{{ messages[0].content }} {{ tools }}",
    held_by: object = None,
) -> HuggingFaceEngine:
    words = Tokenizer(WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template)  # type: ignore[no-untyped-call]
    loaded = Loaded(None, tokenizer, 64, [0], frozenset({0}), Grammars(held_by))
    return HuggingFaceEngine("small", loaded, Says(word), tool_parser)


def called(arguments: str) -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [call]}]


def schema(number: int) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": number}}}


async def ask(of: HuggingFaceEngine, **fields: Any) -> Any:
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}], **fields}
    found = await asyncio.wait_for(of.answer("chat", body, Tally()), 30)
    return json.loads(found.document)["choices"][0]["message"] if isinstance(found, Whole) else found


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[object]]:
    """Schemas are tried by something that refuses them, after what a test does; gives what was tried."""

    def by(what: Callable[[], object]) -> list[object]:
        seen: list[object] = []

        def fault(parts: object) -> object:
            seen.append(parts)
            what()
            return rejected("schema", "wrong")

        monkeypatch.setattr(grammars, "fault", fault)
        return seen

    return by


def test_whoever_has_no_schema_does_not_wait_for_those_that_have(
    tried: Callable[[Callable[[], object]], list[object]],
) -> None:
    held = threading.Event()
    seen = tried(lambda: held.wait(60))
    made = engine(held_by=object())

    async def together() -> list[Any]:
        others = [asyncio.create_task(ask(made, response_format=schema(number))) for number in range(50)]
        try:
            while len(seen) < TRIED_AT_ONCE:  # noqa: ASYNC110 - another thread tells it
                await asyncio.sleep(0.01)
            assert (await ask(made))["content"] == "late"
            assert len(seen) == TRIED_AT_ONCE
        finally:
            held.set()
        return await asyncio.gather(*others)

    assert all(isinstance(answer, Refused) and answer.status == 400 for answer in asyncio.run(together()))


def test_a_schema_is_tried_once(tried: Callable[[Callable[[], object]], list[object]]) -> None:
    seen = tried(lambda: None)
    made = engine(held_by=object())

    async def often() -> None:
        for number in (1, 2, 1, 1):
            assert isinstance(await ask(made, response_format=schema(number)), Refused)

    asyncio.run(often())
    assert len(seen) == 2


def test_a_call_is_one_where_the_settings_say_how_the_model_writes_them() -> None:
    said = asyncio.run(ask(engine(CALL, tool_parser="hermes"), tools=TOOLS))
    assert said["content"] is None
    assert said["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


@pytest.mark.parametrize("fields", [{"tools": TOOLS}, {"tools": TOOLS, "tool_choice": "none"}, {}])
def test_else_it_is_text(fields: dict[str, Any]) -> None:
    made = engine(CALL, tool_parser=None if "tool_choice" not in fields else "hermes")
    said = asyncio.run(ask(made, **fields))
    assert said["content"] == CALL
    assert "tool_calls" not in said


def test_a_template_without_a_place_for_tools_can_not_offer_them() -> None:
    found = asyncio.run(ask(engine(template="late"), tools=TOOLS))
    assert (found.status, found.param, found.code) == (400, "tools", "unsupported_parameter")


def test_a_tokenizer_that_answers_can_not_be_held_by_is_said() -> None:
    found = asyncio.run(ask(engine(), response_format=schema(1)))
    assert found.status == 400
    assert "tokenizer" in found.message


def test_tags_of_calls_are_text_though_a_model_has_them_as_special_tokens() -> None:
    tokenizer = engine()._loaded.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool_call>", "</tool_call>", "<think>"]})
    assert {tokenizer.decode(token) for token in _silent(tokenizer)} == {"<think>"}


def test_what_is_no_character_is_refused() -> None:
    found = asyncio.run(ask(engine(), messages=[{"role": "user", "content": "\ud800"}]))
    assert (found.status, found.param) == (400, "messages")


@pytest.mark.parametrize(
    ("operation", "fields", "param"),
    [
        ("chat", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
        ("chat", {"messages": [{"role": "user", "content": "é€" * 300}] * 10}, "messages"),
        ("chat", {"messages": called(f'{{"{LONG}": 1}}')}, "messages"),
        ("chat", {"messages": called(f"[{'1,' * 2**20}1]")}, "messages"),
        ("chat", {"messages": called(f"[{'[],' * 2**20}1]")}, "messages"),
        ("chat", {"tools": [{"type": "function", "function": {"name": "look", "description": LONG}}]}, "messages"),
        (
            "chat",
            {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"properties": {LONG: {}}}}}]},
            "messages",
        ),
        ("completions", {"prompt": ["late", LONG]}, "prompt"),
    ],
    ids=["text", "texts", "name", "numbers", "arrays", "tool", "tool's names", "prompt"],
)
def test_a_text_that_is_longer_than_any_that_fits_is_not_read(
    operation: Operation, fields: dict[str, Any], param: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine()
    monkeypatch.setattr(made, "_prompts", None)
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}], **fields}
    if operation == "completions":
        del body["messages"]
    begun = time.monotonic()
    found = asyncio.run(made.answer(operation, body, Tally()))
    assert time.monotonic() - begun < 1
    assert isinstance(found, Refused)
    assert (found.status, found.code, found.param) == (400, "context_length_exceeded", param)


def test_no_prompt_is_read_after_one_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine()
    read: list[object] = []

    def ids(self: Loaded, prompt: str | list[int]) -> list[int]:
        read.append(prompt)
        return [2] * len(str(prompt))

    monkeypatch.setattr(Loaded, "prompt", ids)
    body = {"model": "small", "prompt": ["late", "late" * 20, "late"]}
    found = asyncio.run(made.answer("completions", body, Tally()))
    assert isinstance(found, Refused)
    assert (found.code, found.param) == ("context_length_exceeded", "prompt")
    assert len(read) == 2


def test_a_text_of_few_characters_more_than_fit_is_counted_by_its_tokens() -> None:
    found = asyncio.run(ask(engine(), messages=[{"role": "user", "content": "late " * 65}]))
    assert isinstance(found, Refused)
    assert "asks for" in found.message
