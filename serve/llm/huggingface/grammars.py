"""What an answer is held to, token by token, by llguidance.

Schemas are strangers': a small one may take minutes to compile, or more memory than there is. So each is tried in a
process of its own before it comes to this one, and each token is bounded by :data:`LIMITS`.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from typing import Any

from serve.llm.deployed.schema_check import LIMITS
from serve.llm.deployed.schemas import Part, SchemasUntried, Verdicts, faults, said_of
from serve.llm.huggingface.generation import GenerationFailed
from serve.llm.huggingface.refusals import Rejected, rejected

logger = logging.getLogger("ray.serve")


class Grammars:
    """Of one tokenizer, ``None`` where it is none that an answer can be held by. ``tokenizer``: an ``LLTokenizer``."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._verdicts: Verdicts[Any] = Verdicts()

    @classmethod
    def of(cls, tokenizer: Any, vocabulary: int, ends: list[int]) -> Grammars:
        """``tokenizer``: transformers'. ``vocabulary``: tokens that the model has a score for."""
        from llguidance.hf import from_tokenizer

        try:
            return cls(from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=ends))
        except Exception as error:  # noqa: BLE001 - most of what a model is for needs none of it
            logger.warning("answers can't be held to a schema: llguidance doesn't take the tokenizer: %s", error)
            return cls(None)

    async def tried(self, parts: Sequence[Part]) -> Any:
        """Try all. What comes is the matcher of the last one where that is a grammar, to be copied for each answer.

        Raises:
            Rejected: one of them is wrong, or takes too much.
            GenerationFailed: they can't be tried.
        """
        found = await self._verdicts.of(tuple(parts), functools.partial(self._try, parts))
        if isinstance(found, Rejected):
            # Not itself, which would keep the frames of all who were told.
            raise Rejected(found.refused)
        return found

    def stop(self) -> None:
        self._verdicts.stop()

    def _try(self, parts: Sequence[Part]) -> Any:
        from llguidance import LLMatcher, LLParserLimits

        last = parts[-1]
        if last.kind == "grammar" and self._tokenizer is None:
            return rejected(last.param, "this model's tokenizer is none that an answer can be held by")
        if (wrong := fault(parts)) is not None:
            return wrong
        if last.kind == "schema":
            return None
        limits = LLParserLimits(**LIMITS)
        made = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(last.text), limits=limits, log_level=0)
        return _cannot(last, made.get_error()) if made.is_error() else made


def fault(parts: Sequence[Part]) -> Rejected | None:
    """What is wrong with the first of them that something is wrong with. It blocks.

    Raises:
        GenerationFailed: they can't be tried.
    """
    try:
        found = faults(parts)
    except SchemasUntried as error:
        raise GenerationFailed(str(error)) from error
    return None if found is None else _cannot(*found)


def _cannot(part: Part, reason: str) -> Rejected:
    return rejected(part.param, said_of(part, reason))


def json_of(schema: dict[str, Any], *, strict: bool) -> str:
    """A grammar's term for the JSON that keeps to a schema. ``strict``: nothing in the schema may be passed over.

    Without spaces but those that ``json.dumps`` writes: a small model that may write others writes no end of them.
    """
    options = {
        "whitespace_flexible": False,
        "item_separator": ", ",
        "key_separator": ": ",
        "lenient": not strict,
    }
    return f"%json {json.dumps(schema | {'x-guidance': options})}"


def held(param: str, schema: dict[str, Any], *, strict: bool) -> tuple[Part, ...]:
    """An answer that keeps to a schema."""
    return (Part("grammar", param, f"start: {json_of(schema, strict=strict)}"),)
