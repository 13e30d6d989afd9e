"""A prompt's version, read once to be filled often.

Filling is one pass over the text: what a variable's value says is never read for variables again, and nothing is
evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import ParameterRejected, shown
from training.prompts import VARIABLE, PromptVersion

MOST_CHARACTERS = 2**20
"""Of all messages together when they are filled: a variable may stand in a text thousands of times."""


@dataclass(frozen=True, slots=True)
class Template:
    """``messages``: the role of each, and its pieces: text and the name of a variable in turns, text first and last."""

    name: str
    version: str
    messages: tuple[tuple[str, tuple[str, ...]], ...]
    variables: frozenset[str]

    @classmethod
    def of(cls, version: PromptVersion) -> Template:
        messages = tuple((each.role, tuple(VARIABLE.split(each.content))) for each in version.messages)
        return cls(version.name, version.version, messages, frozenset(version.variables))

    def fill(self, variables: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages, in OpenAI's shape.

        Raises:
            ParameterRejected: a variable is missing, unknown or no text, or the whole becomes too long.
        """
        self._check(variables)
        return [
            {
                "role": role,
                "content": "".join(variables[piece] if at % 2 else piece for at, piece in enumerate(pieces)),
            }
            for role, pieces in self.messages
        ]

    def _check(self, variables: Mapping[str, Any]) -> None:
        prompt = f"prompt {self.name}/{self.version}"
        for name in sorted(self.variables - variables.keys()):
            raise ParameterRejected(f"variables.{name}", f"{prompt} needs it, got none", "missing_required_parameter")
        for name, value in variables.items():
            if name not in self.variables:
                known = ", ".join(sorted(self.variables)) or "none"
                reason = f"{prompt} has no variable {shown(name)}, expected {known}"
                raise ParameterRejected("variables", reason, "unknown_parameter")
            if type(value) is not str:
                raise ParameterRejected(f"variables.{name}", f"expected a string, got {shown(value)}", "invalid_type")
        length = sum(
            len(variables[piece]) if at % 2 else len(piece)
            for _, pieces in self.messages
            for at, piece in enumerate(pieces)
        )
        if length > MOST_CHARACTERS:
            reason = f"{prompt} would have {length} characters, expected at most {MOST_CHARACTERS}"
            raise ParameterRejected("variables", reason, "string_above_max_length")
