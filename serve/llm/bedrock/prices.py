"""What Bedrock's models cost on demand, from a table that has a date.

Bedrock has no such list that a program could ask without an account. The table is of one region and of the standard
tier; ``prices`` in the settings take its place. A model that is not in it has no price, which is not the same as none.
"""

from __future__ import annotations

import functools
from datetime import date
from pathlib import Path

from pydantic import Field, TypeAdapter

from serve.llm.bedrock.ids import base, is_global
from serve.llm.settings import Dollars, TokenPrices
from serve.section import Section

FILE = Path(__file__).with_name("prices.json")


class Price(Section):
    """US dollars for a million tokens, by a global profile. ``regional``: how many times that is, by any other."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    regional: float = Field(default=1, ge=1)


class Table(Section):
    date: date
    region: str
    sources: tuple[str, ...]
    models: dict[str, Price]


@functools.cache
def table() -> Table:
    return TypeAdapter(Table).validate_json(FILE.read_text())


def price(model: str) -> TokenPrices | None:
    """Of a model's id, an inference profile's, or either's ARN; ``None``: not known."""
    found = table().models.get(base(model))
    if found is None:
        return None
    times = 1 if is_global(model) else found.regional
    cached = None if found.cached is None else _dollars(found.cached * times)
    return TokenPrices(input=_dollars(found.input * times), output=_dollars(found.output * times), cached=cached)


def _dollars(amount: float) -> float:
    return round(amount, 6)
