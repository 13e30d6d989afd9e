"""How well a model says what the held-out conversations say, and what it answers to their prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from training.finetune.conversations import Conversation
from training.finetune.tokens import Tokens, rendered

MOST_ANSWERS = 16
"""Held-out prompts that are answered; the loss is of all."""


@dataclass(frozen=True)
class Question:
    """A held-out conversation up to its last answer: the prompt as text, and what the answer should be."""

    prompt: str
    shown: str
    expected: str


def questions(conversations: Sequence[Conversation], tokenizer: Any) -> list[Question]:
    """Of the first :data:`MOST_ANSWERS`. Raises: ConversationsRefused: the template can't write one."""
    return [
        Question(
            prompt=rendered(tokenizer, conversation.texts()[:-1], prompting=True),
            shown=conversation.messages[-2].content,
            expected=conversation.messages[-1].content,
        )
        for conversation in conversations[:MOST_ANSWERS]
    ]


def loss_of(model: nn.Module, tokens: Tokens, indices: Sequence[int], device: torch.device) -> tuple[Tensor, int]:
    """The sum of the cross-entropies (nats) of the learned tokens of some conversations, and their number."""
    pairs = [tokens[index] for index in indices]
    ids = pad_sequence([torch.from_numpy(ids) for ids, _ in pairs], batch_first=True).to(device)
    learned = pad_sequence([torch.from_numpy(learned) for _, learned in pairs], batch_first=True).to(device)
    attended = pad_sequence([torch.ones(len(ids), dtype=torch.long) for ids, _ in pairs], batch_first=True).to(device)
    logits = model(input_ids=ids, attention_mask=attended, use_cache=False).logits
    wanted = learned[:, 1:]
    # Chosen before they are widened: most are of what others say.
    chosen = logits[:, :-1][wanted].float()
    return nn.functional.cross_entropy(chosen, ids[:, 1:][wanted], reduction="sum"), int(wanted.sum())


@torch.inference_mode()
def mean_loss(model: nn.Module, tokens: Tokens, batch: int, device: torch.device) -> float:
    """Of all learned tokens, in nats a token."""
    model.eval()
    total, count = 0.0, 0
    for first in range(0, len(tokens), batch):
        loss, learned = loss_of(model, tokens, range(first, min(first + batch, len(tokens))), device)
        total += float(loss)
        count += learned
    return total / count


def perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))


@torch.inference_mode()
def answers(
    model: Any, tokenizer: Any, asked: Sequence[Question], most_tokens: int, batch: int, device: torch.device
) -> list[str]:
    """The likeliest answer to each, token by token."""
    from transformers import GenerationConfig

    model.eval()
    own = model.generation_config
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=most_tokens,
        do_sample=False,
        eos_token_id=own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    found = []
    for first in range(0, len(asked), batch):
        prompts = [question.prompt for question in asked[first : first + batch]]
        # An answer goes on where its prompt ends.
        encoded = tokenizer(
            prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        ).to(device)
        made = model.generate(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], generation_config=config
        )
        found += tokenizer.batch_decode(made[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in found]
