"""Conversations as tokens, and which of them are learned: what the assistant says, and that it ends there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from console import one_line
from training.errors import ConversationsRefused
from training.finetune.conversations import Conversation, Line


@dataclass(frozen=True)
class Tokens:
    """N conversations end to end: ``ids`` [T] int64, ``learned`` [T] bool, ``starts`` [N + 1] int64 offsets."""

    ids: np.ndarray
    learned: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tokens:
        return cls(
            ids=np.concatenate([ids for ids, _ in pairs]).astype(np.int64),
            learned=np.concatenate([learned for _, learned in pairs]).astype(bool),
            starts=np.cumsum([0, *(len(ids) for ids, _ in pairs)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        where = slice(self.starts[index], self.starts[index + 1])
        return self.ids[where], self.learned[where]


@dataclass
class Cuts:
    """What ``max_length`` took away. ``unlearnable``: the lines that had nothing left to learn, and are left out."""

    conversations: int = 0
    cut: int = 0
    learned: int = 0
    learned_lost: int = 0
    unlearnable: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"{self.conversations:,} conversations, {self.learned:,} tokens to learn"
        if self.cut:
            said += f"; {self.cut:,} cut, which lost {self.learned_lost:,} tokens to learn"
        if self.unlearnable:
            shown = ", ".join(map(str, self.unlearnable[:10]))
            more = ", …" if len(self.unlearnable) > 10 else ""
            said += f"; {len(self.unlearnable):,} left out, with none left (lines {shown}{more})"
        return said


def tokenize(lines: Sequence[Line], tokenizer: Any, max_length: int) -> tuple[Tokens, Cuts]:
    """Each conversation as the model's chat template writes it, cut at ``max_length`` tokens.

    Raises:
        ConversationsRefused: the template can't write one, or nothing is left to learn.
    """
    cuts, pairs = Cuts(), []
    for line in lines:
        try:
            ids, learned = tokens_of(line.conversation, tokenizer)
        except ConversationsRefused as error:
            raise ConversationsRefused(f"line {line.number}: {error}") from error
        kept = learned[:max_length]
        cuts.cut += len(ids) > max_length
        cuts.learned_lost += int(learned.sum() - kept.sum())
        # The first token is predicted from nothing.
        if not kept[1:].any():
            cuts.unlearnable.append(line.number)
            continue
        pairs.append((ids[:max_length], kept))
        cuts.conversations += 1
        cuts.learned += int(kept.sum())
    if not pairs:
        raise ConversationsRefused(f"no conversation has anything to learn in its first {max_length} tokens")
    return Tokens.of(pairs), cuts


def tokens_of(conversation: Conversation, tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """``ids`` [T] int64 and ``learned`` [T] bool of one conversation.

    A token is learned if it begins in an assistant's turn: after what the template writes to prompt one, up to the
    mark that ends it. The white space after that mark is nobody's.

    Raises:
        ConversationsRefused: the template can't write it, or writes earlier turns anew as the conversation goes on.
    """
    texts = conversation.texts()
    whole = rendered(tokenizer, texts)
    spans = []
    for number, message in enumerate(conversation.messages):
        if not message.is_learned:
            continue
        prompt = rendered(tokenizer, texts[:number], prompting=True)
        until = rendered(tokenizer, texts[: number + 1])
        if not (until.startswith(prompt) and whole.startswith(until.rstrip())):
            raise ConversationsRefused(
                f"messages.{number}: the model's chat template writes this turn otherwise when others follow: "
                "make a conversation of its own of each answer"
            )
        spans.append((len(prompt), len(until.rstrip())))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = np.asarray(encoded["input_ids"], np.int64)
    begins = np.asarray([begin for begin, _ in encoded["offset_mapping"]], np.int64)
    learned = np.zeros(len(ids), bool)
    for begin, end in spans:
        learned |= (begins >= begin) & (begins < end)
    return ids, learned


def rendered(tokenizer: Any, texts: Sequence[dict[str, str]], *, prompting: bool = False) -> str:
    """What the chat template writes; ``prompting``: with the beginning of an answer.

    Raises:
        ConversationsRefused: it can't write these messages.
    """
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(list(texts), tokenize=False, add_generation_prompt=prompting)
    except (TemplateError, ValueError, TypeError) as error:
        raise ConversationsRefused(f"the model's chat template can't write it: {one_line(str(error))[:200]}") from error
    return text
