"""Converse's answers → OpenAI's documents and chunks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import BackendError
from serve.llm.backend import Completed, Tokens
from serve.llm.bedrock.frames import Event
from serve.llm.ledger.cost import CHARACTERS_A_TOKEN

FINISHES: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}

MALFORMED = ("malformed_model_output", "malformed_tool_use")


def finish(reason: object, *, named: bool) -> str:
    """``named``: a tool had to be called by its name, which ends an answer as a text does.

    Raises:
        BackendError: what the model gave is not an answer.
    """
    if reason in MALFORMED:
        raise BackendError(502, "server_error", f"the model's answer can't be read: {reason}")
    found = FINISHES.get(str(reason), "stop")
    return "stop" if named and found == "tool_calls" else found


def tokens(usage: Mapping[str, Any]) -> Tokens:
    """Bedrock counts what it read from a cache, and what it wrote to one, beside the input."""
    cached = int(usage.get("cacheReadInputTokens") or 0)
    written = int(usage.get("cacheWriteInputTokens") or 0)
    total = int(usage.get("inputTokens") or 0) + cached + written
    return Tokens(input=total, output=int(usage.get("outputTokens") or 0), cached=cached)


def told(answer: Mapping[str, Any]) -> Tokens | None:
    """What Converse's answer says that it took, whatever else is wrong with it."""
    try:
        return tokens(answer["usage"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def usage_of(used: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
    }


def completed(answer: Mapping[str, Any], model: str, *, named: bool = False) -> Completed:
    """Of Converse's answer. ``named``: see :func:`finish`. Raises: BackendError, of 502."""
    try:
        message = answer["output"]["message"]
        used = tokens(answer["usage"])
        document = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": _message(message["content"]),
                    "logprobs": None,
                    "finish_reason": finish(answer["stopReason"], named=named),
                }
            ],
            "usage": usage_of(used),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackendError(502, "server_error", "Bedrock's answer can't be read") from error
    return Completed(document, used)


def _message(blocks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    said: list[str] = []
    thought: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if "text" in block:
            said.append(block["text"])
        elif "toolUse" in block and block["toolUse"].get("type") is None:
            use = block["toolUse"]
            function = {"name": use["name"], "arguments": json.dumps(use["input"], ensure_ascii=False)}
            calls.append({"id": use["toolUseId"], "type": "function", "function": function})
        elif "reasoningContent" in block:
            thought.append(block["reasoningContent"].get("reasoningText", {}).get("text", ""))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said) if said or not calls else None}
    message["refusal"] = None
    if any(thought):
        message["reasoning_content"] = "".join(thought)
    if calls:
        message["tool_calls"] = calls
    return message


@dataclass(slots=True)
class _Call:
    index: int
    argued: bool = False


class Chunks:
    """Turns a stream's events into chunks, and counts.

    Bedrock says what a stream took at its end alone. Until then ``tokens`` is a guess: of the input ``guessed_input``,
    which is not asked before; of the output a token for each delta, or for every four characters where that is more,
    since a delta may have several.
    """

    def __init__(self, model: str, guessed_input: Callable[[], int], *, named: bool = False) -> None:
        self._named = named
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._guessed_input = guessed_input
        self._known: Tokens | None = None
        self._deltas = 0
        self._characters = 0
        self._calls: dict[int, _Call] = {}
        self._started = False
        self._begun = False
        self._finished = False
        self._used = False

    @property
    def tokens(self) -> Tokens:
        if self._known is not None:
            return self._known
        output = max(self._deltas, math.ceil(self._characters / CHARACTERS_A_TOKEN))
        return Tokens(input=self._guessed_input(), output=output)

    @property
    def has_content(self) -> bool:
        """Whether something of the answer itself has come, or its end."""
        return self._begun or self._finished

    def of(self, event: Event) -> list[dict[str, Any]]:
        """Raises: BackendError, of 502, for what can't be read."""
        try:
            return self._of(event.name, event.document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackendError(502, "server_error", "Bedrock's stream can't be read") from error

    def end(self) -> list[dict[str, Any]]:
        """After the last event. Raises: BackendError, of 502: it was not the last."""
        if not self._finished:
            raise BackendError(502, "server_error", "Bedrock's stream broke off")
        return [] if self._used else [self._usage()]

    def _of(self, name: str, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        # Not every delta is shown: of a thought that is withheld come some that nobody can read.
        self._begun = self._begun or name in ("contentBlockDelta", "contentBlockStart")
        if name == "contentBlockDelta":
            return self._delta(event["contentBlockIndex"], event["delta"])
        if name == "contentBlockStart":
            return self._call(event["contentBlockIndex"], event["start"].get("toolUse"))
        if name == "contentBlockStop":
            call = self._calls.get(event["contentBlockIndex"])
            # A call without arguments has no deltas, and clients parse what they put together.
            return [] if call is None or call.argued else [self._arguments(call, "{}")]
        if name == "messageStart":
            return self._start()
        if name == "messageStop":
            ended = finish(event["stopReason"], named=self._named)
            self._finished = True
            return [*self._start(), self._chunk({}, ended)]
        if name == "metadata":
            self._known = tokens(event["usage"])
            return [self._usage()]
        return []

    def _delta(self, block: int, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        call = self._calls.get(block)
        if (text := delta.get("text")) is not None:
            shown = self._chunk({"content": text})
        elif "toolUse" in delta and call is not None:
            text = delta["toolUse"]["input"]
            shown = self._arguments(call, text)
        elif (text := delta.get("reasoningContent", {}).get("text")) is not None:
            shown = self._chunk({"reasoning_content": text})
        else:
            return []
        self._deltas += 1
        self._characters += len(text)
        return [*self._start(), shown]

    def _call(self, block: int, use: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        if use is None or use.get("type") is not None:
            return []
        self._calls[block] = _Call(index=len(self._calls))
        function = {"name": use["name"], "arguments": ""}
        call = {"index": self._calls[block].index, "id": use["toolUseId"], "type": "function", "function": function}
        return [*self._start(), self._chunk({"tool_calls": [call]})]

    def _arguments(self, call: _Call, text: str) -> dict[str, Any]:
        call.argued = call.argued or bool(text)
        return self._chunk({"tool_calls": [{"index": call.index, "function": {"arguments": text}}]})

    def _start(self) -> list[dict[str, Any]]:
        if self._started:
            return []
        self._started = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def _chunk(self, delta: dict[str, Any], ended: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ended}
        return {**self._head, "choices": [choice]}

    def _usage(self) -> dict[str, Any]:
        self._used = True
        return {**self._head, "choices": [], "usage": usage_of(self.tokens)}
