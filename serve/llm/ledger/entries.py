"""What is written down of a request: when it begins, and when it has ended."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

from serve.llm.backend import Tokens
from serve.llm.use import Use

LOST = "lost"
"""How a request ended whose process was killed before it told."""

MOST_TOKENS = 2**40
"""More is a server's mistake, and would be past what a sum can hold."""


@dataclass(frozen=True, slots=True)
class Began:
    """A request that runs. ``id``: of the reservation, unique over all processes."""

    id: str
    at: datetime
    key: str
    model: str
    most_dollars: float
    request_id: str
    prompt: str = ""
    prompt_version: str = ""

    def lost(self) -> Entry:
        """Its entry where its process was killed: it may have come to all that was reserved, or to an unknown sum."""
        use = Use(
            request_id=self.request_id,
            at=self.at,
            key=self.key,
            model=self.model,
            backend="",
            operation="",
            tokens=Tokens(),
            first_token_seconds=None,
            seconds=0.0,
            dollars=self.most_dollars or None,
            ended=LOST,
            prompt=self.prompt,
            prompt_version=self.prompt_version,
        )
        return Entry(self.id, use)


@dataclass(frozen=True, slots=True)
class Entry:
    """A use as the ledger keeps it. What is written twice under an ``id`` counts once.

    (A ``request_id`` would not do: a client may choose its own, and a request that two backends were asked for has
    one for both.)
    """

    id: str
    use: Use


def entry_of(began: Began, use: Use) -> Entry:
    """The entry of a request that has ended, free of what no store can hold.

    It counts on the day, and for the key and model, for which its dollars were reserved: so do the budgets. Of the
    prompt too it has what was told when it began.
    """
    dollars = use.dollars if use.dollars is not None and math.isfinite(use.dollars) and use.dollars >= 0 else None
    counts = (min(max(0, count), MOST_TOKENS) for count in (use.tokens.input, use.tokens.output, use.tokens.cached))
    return Entry(
        began.id,
        replace(
            use,
            request_id=clean(use.request_id),
            at=began.at,
            key=began.key,
            model=began.model,
            backend=clean(use.backend),
            tokens=Tokens(*counts),
            dollars=dollars,
            ended=clean(use.ended),
            prompt=began.prompt,
            prompt_version=began.prompt_version,
        ),
    )


def clean(text: str) -> str:
    """A text without lone surrogates and NUL, which not every database takes."""
    known = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return known.replace("\0", "?")
