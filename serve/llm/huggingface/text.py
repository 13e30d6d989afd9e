"""Tokens to text, piece by piece, up to a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer says of bytes that are no whole character yet."""

BEFORE = 6
"""Tokens that are decoded again with new ones: what a token's text is depends on those before it."""


def is_longer(value: Any, most: int) -> bool:
    """Whether a JSON value has more characters than ``most``; what is no text is one. It is read no further."""
    left, found = [value], 0
    while left and found <= most:
        of = left.pop()
        found += len(of) if isinstance(of, str) else 1
        if isinstance(of, Mapping):
            # A template shows the names of a schema and of a call's arguments too.
            left += [*of, *of.values()]
        elif isinstance(of, list | tuple):
            left += of
    return found > most


class Text:
    """The text of one answer. ``decode``: of a tokenizer, without special tokens. ``stops``: none of them is given."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = stops
        self._tokens: list[int] = []
        self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """What can be told with this token: what may become a stop, or a whole character, is held."""
        self._tokens.append(token)
        return self._told(self._new(final=False))

    def end(self) -> str:
        """What was held."""
        told = self._told(self._new(final=True)) + ("" if self.stopped else self._held)
        self._held = ""
        return told

    def _new(self, *, final: bool) -> str:
        start = max(0, self._read - BEFORE)
        before = self._decode(self._tokens[start : self._read])
        text = self._decode(self._tokens[start:])
        if text.endswith(UNFINISHED) and not final:
            return ""
        self._read = len(self._tokens)
        return text[len(before) :]

    def _told(self, text: str) -> str:
        if self.stopped or not self._stops:
            return "" if self.stopped else text
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            told, self._held, self.stopped = self._held[: min(found)], "", True
            return told
        kept = max(overlap(self._held, stop) for stop in self._stops)
        told, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return told


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text a stop may begin with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
