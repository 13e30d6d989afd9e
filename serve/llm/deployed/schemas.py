"""What an answer is to be held to, tried before an engine has it.

Schemas are strangers': a small one may take minutes to compile, or more memory than there is. So each is tried in a
process of its own, whose time and memory are bounded.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from serve.llm.deployed import schema_check

Verdict = TypeVar("Verdict")

TRIED_AT_ONCE = 2

KEPT = 32
"""Of what was tried last: a client sends the same schemas with each request."""

PLACE = re.compile(r"at \d+\(\d+\): (?:failed to compile JSON schema: )?|\n\s*\d+ \| .*|<non-verbose/>", re.DOTALL)
"""What llguidance says of where in a grammar something is, which is none of the client's."""

STUCK_SECONDS = 60
"""Of a process whose time is bounded: it gets none."""


class SchemasUntried(Exception):
    """The process in which they are tried can't be run, or failed."""


@dataclass(frozen=True)
class Part:
    """Something that is tried: a JSON Schema, a grammar in Lark, or one as llguidance's matchers take it.

    ``param``: what a client calls it.
    """

    kind: Literal["schema", "grammar", "matcher"]
    param: str
    text: str


class Verdicts(Generic[Verdict]):
    """What was tried last, in threads of its own: whoever has no schema does not wait for those that have."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(TRIED_AT_ONCE, thread_name_prefix="schema")
        self._verdicts: OrderedDict[Hashable, Verdict] = OrderedDict()

    async def of(self, tried: Hashable, by: Callable[[], Verdict]) -> Verdict:
        """The verdict on what is ``tried``. Raises: whatever ``by`` does, which is not kept."""
        if tried in self._verdicts:
            self._verdicts.move_to_end(tried)
            return self._verdicts[tried]
        found = self._verdicts[tried] = await asyncio.get_running_loop().run_in_executor(self._threads, by)
        while len(self._verdicts) > KEPT:
            self._verdicts.popitem(last=False)
        return found

    def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def faults(parts: Sequence[Part]) -> tuple[Part, str] | None:
    """The first of them that something is wrong with, and what. It blocks.

    Raises:
        SchemasUntried
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", schema_check.__file__],
            input=json.dumps([(part.kind, part.text) for part in parts]),
            capture_output=True,
            text=True,
            timeout=STUCK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchemasUntried(f"schemas can't be tried: {error}") from error
    said: list[str] = [json.loads(line) for line in done.stdout.splitlines()]
    for part, wrong in zip(parts, said, strict=False):
        if wrong:
            return part, wrong
    if done.returncode < 0 and len(said) < len(parts):
        return parts[len(said)], "it takes too long, or too much memory"
    if len(said) < len(parts):
        raise SchemasUntried(f"schemas can't be tried: {done.stderr[-500:]}")
    return None


def said_of(part: Part, reason: str) -> str:
    """A reason, as a client is told it."""
    said = " ".join(PLACE.sub("", reason).split())
    return f"is no JSON Schema: {said}" if part.kind == "schema" else f"can't be held: {said}"
