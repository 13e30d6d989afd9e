"""The calls of tools in an answer's text, as it comes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from serve.llm.huggingface.text import overlap

BEGIN, END = "<tool_call>", "</tool_call>"
TAG = re.compile(f"{BEGIN}|{END}")

HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\<]+)"\s*,\s*"arguments"\s*:\s*(?=\{)')
"""What is before a call's arguments. It has no ``<``, so that it ends before a tag does wherever a text is cut."""


@dataclass(frozen=True)
class Call:
    """Something of a call: at its beginning its id and its name, then its arguments piece by piece."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


@dataclass
class Said:
    """What a piece of text comes to."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)

    def add(self, call: Call) -> None:
        """With what came of the same call: a client takes the first entry of a call for its beginning."""
        if self.calls and self.calls[-1].index == call.index:
            before = self.calls.pop()
            call = replace(before, arguments=before.arguments + call.arguments)
        self.calls.append(call)


class CallParser(Protocol):
    """Parts an answer's text into what is said and what is called. However it is cut, it comes to the same.

    ``done``: there are as many calls as there may be, and nothing is said after them. ``count``: of calls so far.
    """

    done: bool
    count: int

    def push(self, text: str) -> Said: ...

    def end(self) -> Said:
        """What was held."""
        ...


class Hermes:
    """See :class:`CallParser`. ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, of Nous Research's Hermes and
    of Qwen: https://github.com/NousResearch/Hermes-Function-Calling.

    ``most``: calls, ``None`` for any number. Arguments are told as the model writes them. What begins as a call and is
    none is text.
    """

    def __init__(self, most: int | None) -> None:
        self.done = False
        self.count = 0
        self._most = most
        self._held = ""
        self._between = False
        self._step: Callable[[Said], bool] = self._text
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def push(self, text: str) -> Said:
        said = Said()
        self._held += text
        while not self.done and self._step(said):
            pass
        return said

    def end(self) -> Said:
        said = Said()
        if self.done:
            return said
        if self._step == self._text:
            self._tell(said, self._held)
        elif self._step == self._head:
            self._whole(said, self._held, BEGIN + self._held)
        self._held = ""
        return said

    # Each step takes of what is held what it can, and says whether another one may go on.

    def _text(self, said: Said) -> bool:
        before, tag, after = self._held.partition(BEGIN)
        if tag:
            self._tell(said, before)
            self._held, self._step = after, self._head
            return True
        kept = overlap(self._held, BEGIN)
        self._tell(said, self._held[: len(self._held) - kept])
        self._held = self._held[len(self._held) - kept :]
        return False

    def _head(self, said: Said) -> bool:
        if (found := HEAD.match(self._held)) is not None:
            self._begin(said, found[1])
            self._held, self._step = self._held[found.end() :], self._arguments
            return True
        body, tag, after = self._held.partition(END)
        if not tag:
            return False
        self._held, self._step = after, self._text
        self._whole(said, body, BEGIN + body + END)
        return True

    def _arguments(self, said: Said) -> bool:
        at, ended = 0, False
        for character in self._held:
            if character == "<" and not self._quoted:
                # No JSON: the model has left out what closes it.
                ended = True
                break
            at += 1
            self._read(character)
            if not self._depth:
                ended = True
                break
        if at:
            said.add(Call(self.count - 1, self._held[:at]))
        self._held = self._held[at:]
        if ended:
            self._depth, self._step, self.done = 0, self._tail, self.count == self._most
        return ended

    def _tail(self, said: Said) -> bool:  # noqa: ARG002
        found = TAG.search(self._held)
        if found is None:
            self._held = self._held[len(self._held) - max(overlap(self._held, BEGIN), overlap(self._held, END)) :]
            return False
        self._held = self._held[found.end() :]
        self._step = self._text if found[0] == END else self._head
        self._between = True
        return True

    def _read(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._quoted:
            self._escaped = character == "\\"
            self._quoted = character != '"'
        elif character == '"':
            self._quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1

    def _begin(self, said: Said, name: str) -> None:
        said.add(Call(self.count, id=f"call_{uuid.uuid4().hex}", name=name))
        self.count += 1

    def _whole(self, said: Said, body: str, otherwise: str) -> None:
        """A call that doesn't begin as most do: with its arguments first, or without any."""
        try:
            found = json.loads(body)
            name, arguments = found["name"], found.get("arguments", {})
            # What JSON can escape may be no character.
            str(name).encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            name, arguments = None, None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            self._tell(said, otherwise)
            return
        self._begin(said, name)
        said.add(Call(self.count - 1, json.dumps(arguments)))
        self._between = True
        self.done = self.count == self._most

    def _tell(self, said: Said, text: str) -> None:
        if self._between:
            # Calls are on lines of their own.
            text = text.lstrip()
            self._between = not text
        said.text += text


PARSERS: Mapping[str, Callable[[int | None], CallParser]] = {"hermes": Hermes}
"""By the names that the setting ``tool_parser`` has for them."""


def head(name: str) -> str:
    """What Hermes' call of a function has before its arguments."""
    return f'{{"name": {json.dumps(name)}, "arguments": '
