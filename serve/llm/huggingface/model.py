"""A model and its tokenizer, loaded from safetensors alone and without code of the model's."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from serve.llm.deployed.engine import EngineSettingsError
from serve.llm.deployed.refusals import not_done
from serve.llm.huggingface.calls import BEGIN, END
from serve.llm.huggingface.grammars import Grammars
from serve.llm.huggingface.refusals import Rejected, rejected
from serve.llm.huggingface.tools import ToolUse
from serve.llm.settings import HuggingFace

LONGEST_TOKEN = 64
"""Characters of a token, at the least: of a word that is none of the vocabulary's too."""


@dataclass(frozen=True)
class Loaded:
    """``longest``: tokens of a request with its answer. ``ends``: tokens that end an answer. ``silent``: special tokens
    that are no text."""

    model: Any
    tokenizer: Any
    longest: int
    ends: list[int]
    silent: frozenset[int]
    grammars: Grammars

    @classmethod
    def load(cls, name: str, settings: HuggingFace, source: str) -> Loaded:
        """``source``: a folder or a hub's id.

        Raises:
            EngineSettingsError: the model is not one for this engine, or its settings are not for the model.
        """
        if not settings.gpus:
            torch.set_num_threads(max(1, int(settings.cpus)))
        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model: Any = kind.from_pretrained(
                source, config=config, dtype=settings.dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise EngineSettingsError(name, f"model: transformers can't load {settings.model}: {error}") from error
        model.to(torch.device("cuda" if settings.gpus else "cpu")).eval()
        vocabulary = config.get_text_config().vocab_size
        return cls(
            model,
            tokenizer,
            _longest(name, settings, config),
            ends := _ends(name, model, tokenizer),
            _silent(tokenizer),
            Grammars.of(tokenizer, vocabulary, ends),
        )

    @functools.cached_property
    def most_characters(self) -> int:
        """Of a text that may fit; where its tokens are few, it is of words that the model doesn't know."""
        return self.longest * max(LONGEST_TOKEN, *map(len, self.tokenizer.get_vocab()))

    @property
    def vocabulary(self) -> int:
        size: int = self.model.config.get_text_config().vocab_size
        return size

    def decode(self, tokens: Sequence[int]) -> str:
        told = [token for token in tokens if token not in self.silent]
        text: str = self.tokenizer.decode(told, clean_up_tokenization_spaces=False)
        return text

    def decode_one(self, token: int) -> str:
        text: str = self.tokenizer.decode([token])
        return text

    def chat(self, messages: list[dict[str, Any]], tools: ToolUse | None) -> list[int]:
        """Raises: Rejected: the model has no template, or its template doesn't take these messages."""
        if not self.tokenizer.chat_template:
            raise Rejected(not_done("chat"))
        # A call that is held comes all the same, as at vLLM.
        if tools is not None and not tools.held and not self._takes_tools():
            raise rejected("tools", "this model's chat template has no place for tools", "unsupported_parameter")
        try:
            shown = tools.shown if tools is not None else None
            text = self.tokenizer.apply_chat_template(messages, tools=shown, add_generation_prompt=True, tokenize=False)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            raise rejected("messages", f"the model's chat template doesn't take them: {error}") from error
        return self._ids("messages", text, special=False)

    def prompt(self, prompt: str | list[int]) -> list[int]:
        """Raises: Rejected: no tokens, or some that the model doesn't have."""
        if isinstance(prompt, str):
            ids = self._ids("prompt", prompt, special=True)
            if not ids:
                raise rejected("prompt", "expected a text that comes to at least one token")
            return ids
        for token in prompt:
            if not 0 <= token < self.vocabulary:
                raise rejected("prompt", f"expected tokens from 0 to {self.vocabulary - 1}, got {token}")
        return prompt

    def _takes_tools(self) -> bool:
        template = self.tokenizer.chat_template
        texts = template.values() if isinstance(template, dict) else [template]
        return any("tools" in text for text in texts)

    def _ids(self, param: str, text: str, *, special: bool) -> list[int]:
        try:
            ids: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        except TypeError as error:
            # What JSON can escape may be no character, and a tokenizer calls a text of such none.
            raise rejected(param, "expected a text of Unicode characters") from error
        return ids


def _longest(name: str, settings: HuggingFace, config: Any) -> int:
    own: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    if settings.max_length is None and own is None:
        raise EngineSettingsError(name, f"max_length: {settings.model} names none of its own: set one")
    if own is not None and settings.max_length is not None and settings.max_length > own:
        raise EngineSettingsError(name, f"max_length: {settings.max_length} is more than the model's {own}")
    return settings.max_length or own or 0


def _ends(name: str, model: Any, tokenizer: Any) -> list[int]:
    found: set[int] = set()
    for each in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        found |= {each} if isinstance(each, int) else set(each or ())
    if not found:
        raise EngineSettingsError(name, "model: neither it nor its tokenizer names a token that ends an answer")
    return sorted(found)


def _silent(tokenizer: Any) -> frozenset[int]:
    """All special ones but the tags of calls, which some models have as such."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(token for token, each in added if each.special and each.content not in (BEGIN, END))


def quiet() -> None:
    """No bars of progress in a replica's log."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
