"""A request for embeddings, read: the texts of it, and what may be asked for. https://platform.openai.com/docs/api-reference/embeddings"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import ParameterRejected, shown
from serve.llm.backend import MOST_INPUTS

KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})

Text = str | tuple[int, ...]
"""A text, or its tokens."""


class TextRejected(ParameterRejected):
    """One of the texts can't be encoded. Raw: ``(row, expected, came, code)``; ``row``: ``None`` where it is alone."""

    def __init__(self, row: int | None, expected: str, came: str, code: str) -> None:
        param = "input" if row is None else f"input[{row}]"
        super().__init__(param, f"expected {expected}, got {came}", code)
        self.args = (row, expected, came, code)
        self.row, self.expected, self.came = row, expected, came

    def __str__(self) -> str:
        return f"{self.param}: expected {self.expected}, got {self.came}"


@dataclass(frozen=True, slots=True)
class Asked:
    """``alone``: it was one text, and not an array of one."""

    texts: Sequence[Text]
    alone: bool
    packed: bool

    def row(self, index: int) -> int | None:
        """How a mistake names a text."""
        return None if self.alone else index


def bound(most: int) -> str:
    """What is expected of a text's length."""
    return f"1 to {most} tokens"


def read(body: Mapping[str, Any], dims: int, max_tokens: int) -> Asked:
    """``dims``: of the model's vectors; ``max_tokens``: of one text.

    Raises:
        ParameterRejected, of which TextRejected where one of the texts is at fault.
    """
    for name in sorted(body.keys() - KNOWN):
        if body[name] is not None:
            raise ParameterRejected(name, "embeddings have no such parameter here", "unknown_parameter")
    encoding = body.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise ParameterRejected("encoding_format", f"expected float or base64, got {shown(encoding)}")
    wanted = body.get("dimensions")
    if wanted is not None and (type(wanted) is not int or wanted != dims):
        # Only vectors that were trained for it may be cut.
        raise ParameterRejected("dimensions", f"this model's vectors have {dims}, got {shown(wanted)}")
    texts, alone = _texts(body.get("input"), max_tokens)
    return Asked(texts, alone, encoding == "base64")


def _texts(given: object, max_tokens: int) -> tuple[list[Text], bool]:
    if given is None:
        raise ParameterRejected("input", "expected a text or an array of them, got none", "missing_required_parameter")
    if isinstance(given, list) and not given:
        raise ParameterRejected("input", "expected 1 text or more, got none", "empty_array")
    if isinstance(given, str) or (isinstance(given, list) and type(given[0]) is int):
        return [_text(given, None, max_tokens)], True
    if not isinstance(given, list):
        raise ParameterRejected("input", f"expected a text or an array of them, got {shown(given)}", "invalid_type")
    if len(given) > MOST_INPUTS:
        reason = f"expected at most {MOST_INPUTS} texts, got {len(given)}"
        raise ParameterRejected("input", reason, "array_above_max_length")
    return [_text(each, row, max_tokens) for row, each in enumerate(given)], False


def _text(given: object, row: int | None, max_tokens: int) -> Text:
    if isinstance(given, str):
        if not given:
            raise TextRejected(row, "a text that is not empty", "''", "invalid_value")
        try:
            given.encode()
        except UnicodeEncodeError:
            raise TextRejected(row, "a text of Unicode characters", shown(given), "invalid_value") from None
        return given
    if isinstance(given, list) and len(given) > max_tokens:
        # Before each of them is looked at.
        raise TextRejected(row, bound(max_tokens), f"{len(given)} tokens", "context_length_exceeded")
    if not isinstance(given, list) or not given or any(type(each) is not int for each in given):
        raise TextRejected(row, "a text, or its tokens as whole numbers", shown(given), "invalid_type")
    return tuple(given)
