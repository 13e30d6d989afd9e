"""A process of its own in which schemas and grammars are tried. Run as a file; it knows nothing of the project.

It reads a JSON array of ``[kind, text]``, and writes a line for each, a JSON text that says what is wrong, ``""`` where
nothing is; none follows one that is wrong. One that takes more than the process may have ends it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from typing import Any

CPU_SECONDS = 3
MEMORY_BYTES = 2**30

LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 40_000,
    "precompute_large_lexemes": False,
    "verbose_errors": False,
}
"""llguidance's, of a grammar and of each token that it is asked about: some milliseconds, and 40 MB. An object of 5,000
optional properties, the most that OpenAI takes and this size lets through, takes 0.2 s at the name of each.
"""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, text in json.load(sys.stdin):
        try:
            wrong = CHECKS[kind](text)
        except RecursionError:
            wrong = "it is nested too deeply"
        except MemoryError:
            wrong = "it takes too much memory"
        except Exception:
            raise
        except BaseException:  # noqa: BLE001 - llguidance panics at a few grammars where it should refuse them
            wrong = "it can't be compiled"
        sys.stdout.write(json.dumps(wrong) + "\n")
        sys.stdout.flush()
        if wrong:
            return


def _schema(text: str) -> str:
    """Of any draft: few who describe a tool name theirs."""
    from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator, SchemaError

    schema = json.loads(text)
    said = ""
    for draft in (Draft4Validator, Draft7Validator, Draft202012Validator):
        try:
            draft.check_schema(schema, format_checker=None)
        except SchemaError as error:
            said = f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message}"
        else:
            return ""
    return said


def _grammar(lark: str) -> str:
    from llguidance import LLMatcher

    return _matcher(LLMatcher.grammar_from_lark(lark))


def _matcher(serialized: str) -> str:
    from llguidance import LLMatcher, LLParserLimits

    return LLMatcher.validate_grammar(serialized, limits=LLParserLimits(**LIMITS))


CHECKS: dict[str, Callable[[str], str]] = {
    "schema": _schema,
    "grammar": _grammar,
    "matcher": _matcher,
}


if __name__ == "__main__":
    main()
