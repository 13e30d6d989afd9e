"""Reads conversations: JSON Lines in the format that OpenAI fine-tunes on.

``{"messages": [{"role": "system"|"user"|"assistant", "content": "…"}, …]}``; an assistant's message may have
``"weight": 0``: it is then read and not learned. Tools and images are refused.
https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from spark_jobs.contract import first_problem
from training.errors import ConversationsRefused

SHOWN_LINES = 20
"""Of those that can't be used; the rest are counted."""

MOST_LINE_BYTES = 8 * 2**20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Message(_Strict):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, StringConstraints(min_length=1)]
    weight: Literal[0, 1] | None = None

    @model_validator(mode="after")
    def _weighed(self) -> Message:
        if self.weight is not None and self.role != "assistant":
            raise ValueError("weight is of an assistant's message alone")
        return self

    @property
    def is_learned(self) -> bool:
        return self.role == "assistant" and self.weight != 0


class Conversation(_Strict):
    messages: tuple[Message, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _answered(self) -> Conversation:
        if self.messages[-1].role != "assistant":
            raise ValueError("the last message is not an assistant's")
        if not any(message.is_learned for message in self.messages):
            raise ValueError("no assistant's message is to be learned: each has the weight 0")
        return self

    @property
    def digest(self) -> str:
        """SHA-256, hex, of what is said and learned: a weight of 1 is none."""
        said = [(message.role, message.content, message.is_learned) for message in self.messages]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def texts(self) -> list[dict[str, str]]:
        """The messages as a chat template takes them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]


@dataclass(frozen=True)
class Line:
    """A conversation and where it stands. ``number`` counts from 1."""

    number: int
    conversation: Conversation


@dataclass(frozen=True)
class Conversations:
    """A file's. ``sha256``: hex, of the bytes that were read; a pipe can't be read again."""

    lines: list[Line]
    sha256: str


def read(file: Path, note: Callable[[str], None]) -> Conversations:
    """Every line of a file, none left out but empty ones.

    ``note`` is told of the lines that can't be used, each with its number and reason, up to :data:`SHOWN_LINES`.

    Raises:
        ConversationsRefused: a line can't be used, or there is none.
    """
    lines, problems = [], []
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            for number, content in enumerate(iter(lambda: stream.readline(MOST_LINE_BYTES + 1), b""), 1):
                if len(content) > MOST_LINE_BYTES:
                    problems.append(f"line {number}: has more than {MOST_LINE_BYTES:,} bytes; nothing after it is read")
                    break
                digest.update(content)
                # Windows' programs begin a file with it.
                content = content.removeprefix(codecs.BOM_UTF8) if number == 1 else content
                if not content.strip():
                    continue
                try:
                    lines.append(Line(number, Conversation.model_validate_json(content)))
                except ValueError as error:
                    problems.append(f"line {number}: {_reason(error)}")
    except OSError as error:
        raise ConversationsRefused(f"can't read {file}: {error.strerror or error}") from error
    if problems:
        for problem in problems[:SHOWN_LINES]:
            note(problem)
        if len(problems) > SHOWN_LINES:
            note(f"and {len(problems) - SHOWN_LINES:,} more")
        raise ConversationsRefused(
            f"{file}: {len(problems):,} of {len(lines) + len(problems):,} lines can't be used, the first: {problems[0]}"
        )
    if not lines:
        raise ConversationsRefused(f"{file} has no conversations: expected one JSON object a line")
    return Conversations(lines, digest.hexdigest())


def split(lines: Sequence[Line], share: float) -> tuple[list[Line], list[Line]]:
    """Those to train on, and those held out: at least one, by the digest of what they say.

    So the order of the lines doesn't matter, and equal ones are on one side.

    Raises:
        ConversationsRefused: there are too few to leave some of both.
    """
    digests = {line.number: line.conversation.digest for line in lines}
    distinct = sorted(set(digests.values()))
    count = max(1, round(share * len(distinct)))
    if count >= len(distinct):
        raise ConversationsRefused(
            f"{len(distinct)} different conversation(s) can't be split by a share of {share:g}: "
            "give more, or a file with those to hold out"
        )
    apart = set(distinct[:count])
    return (
        [line for line in lines if digests[line.number] not in apart],
        [line for line in lines if digests[line.number] in apart],
    )


def _reason(error: ValueError) -> str:
    return first_problem(error) if isinstance(error, ValidationError) else str(error)
