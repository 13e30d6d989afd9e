"""OpenAI's documents and chunks. https://platform.openai.com/docs/api-reference/chat/object"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.llm.backend import Tokens
from serve.llm.huggingface.calls import Call
from serve.llm.huggingface.request import Asked
from serve.llm.huggingface.sampling import Token


@dataclass(frozen=True)
class Piece:
    """Something of one answer: text, calls, the tokens that came, and at its end why it ended."""

    index: int
    text: str
    tokens: Sequence[Token]
    finish: str | None = None
    calls: Sequence[Call] = ()


@dataclass
class Choice:
    """An answer as it grows."""

    text: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None

    def add(self, piece: Piece) -> None:
        self.text.append(piece.text)
        self.calls.extend(piece.calls)
        self.tokens.extend(piece.tokens)
        self.finish = piece.finish


class Answers:
    """The documents of one request. ``decode``: a token's own text."""

    def __init__(self, model: str, asked: Asked, decode: Callable[[int], str]) -> None:
        self._chat = asked.operation == "chat"
        self._logprobs = asked.sampling.logprobs is not None
        self._decode = decode
        prefix, kind = ("chatcmpl", "chat.completion") if self._chat else ("cmpl", "text_completion")
        self._head = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._kind = kind
        self._offsets: dict[int, int] = {}

    def whole(self, choices: Sequence[Choice], tokens: Tokens) -> dict[str, Any]:
        made = []
        for index, choice in enumerate(choices):
            text = "".join(choice.text)
            said = {"message": _message(text, choice.calls)} if self._chat else {"text": text}
            made.append(self._choice(index, said, choice.tokens, choice.finish))
        return {**self._head, "object": self._kind, "choices": made, "usage": _usage(tokens)}

    def first(self, index: int) -> dict[str, Any]:
        """What comes before a chat's answer."""
        return self._chunk([self._choice(index, {"delta": {"role": "assistant", "content": ""}}, (), None)])

    def piece(self, piece: Piece) -> dict[str, Any]:
        said: dict[str, Any]
        if self._chat:
            delta: dict[str, Any] = {"content": piece.text} if piece.text or (piece.tokens and not piece.calls) else {}
            said = {"delta": delta | ({"tool_calls": [_delta(call) for call in piece.calls]} if piece.calls else {})}
        else:
            said = {"text": piece.text}
        return self._chunk([self._choice(piece.index, said, piece.tokens, piece.finish)])

    def last(self, tokens: Tokens) -> dict[str, Any]:
        return self._chunk([]) | {"usage": _usage(tokens)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else self._kind
        return {**self._head, "object": kind, "choices": choices}

    def _choice(self, index: int, said: dict[str, Any], tokens: Sequence[Token], finish: str | None) -> dict[str, Any]:
        logprobs = None
        if self._logprobs and tokens:
            logprobs = self._of_chat(tokens) if self._chat else self._of_completion(index, tokens)
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}

    def _of_chat(self, tokens: Sequence[Token]) -> dict[str, Any]:
        return {
            "content": [
                {
                    **self._entry(token.id, token.likely.logprob),
                    "top_logprobs": [self._entry(*each) for each in token.likely.top],
                }
                for token in tokens
                if token.likely is not None
            ],
            "refusal": None,
        }

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._decode(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    def _of_completion(self, index: int, tokens: Sequence[Token]) -> dict[str, Any]:
        known = [(self._decode(token.id), token.likely) for token in tokens if token.likely is not None]
        offsets = []
        at = self._offsets.get(index, 0)
        for text, _ in known:
            offsets.append(at)
            at += len(text)
        self._offsets[index] = at
        return {
            "tokens": [text for text, _ in known],
            "token_logprobs": [likely.logprob for _, likely in known],
            "top_logprobs": [{self._decode(each): value for each, value in likely.top} for _, likely in known],
            "text_offset": offsets,
        }


def _message(text: str, calls: Sequence[Call]) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, "refusal": None}
    if not calls:
        return said
    whole: dict[int, dict[str, Any]] = {}
    for call in calls:
        if call.name is not None:
            function = {"name": call.name, "arguments": ""}
            whole[call.index] = {"id": call.id, "type": "function", "function": function}
        whole[call.index]["function"]["arguments"] += call.arguments
    return said | {"content": text or None, "tool_calls": [*whole.values()]}


def _delta(call: Call) -> dict[str, Any]:
    function = {"arguments": call.arguments}
    if call.name is None:
        return {"index": call.index, "function": function}
    return {"index": call.index, "id": call.id, "type": "function", "function": {"name": call.name} | function}


def _usage(tokens: Tokens) -> dict[str, int]:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }
