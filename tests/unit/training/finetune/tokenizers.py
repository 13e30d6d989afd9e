"""A tokenizer of words that needs no model, with chat templates of the usual kinds."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}" + CHATML

FORGETFUL = (
    "{% for message in messages %}<|{{ message.role }}|>\n"
    "{% if message.role == 'assistant' and not loop.last %}…{% else %}{{ message.content }}{% endif %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""Writes an earlier answer otherwise than the last, as models do that leave out what they thought."""


def tokenizer(template: str = CHATML) -> Any:
    """Each mark, word, sign and white space is a token, whose id is where its text first came."""
    words = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "\n", " ", "…", ".", "?"]
    words += [f"w{number}" for number in range(200)]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"<\|\w+\|>|\w+|[^\w]"), "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>", unk_token="?")
    made.chat_template = template
    return made
