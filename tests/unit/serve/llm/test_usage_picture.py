"""The picture of use: who has which bars, and what the legend says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer

from serve.llm import usage_command
from serve.llm.ledger.store import Sums

DAY = datetime(2026, 3, 16, tzinfo=UTC)
TEN = [f"key-{number}" for number in range(10)]


def sums(name: str, dollars: float, unknown: int = 0) -> Sums:
    return Sums(DAY, name, requests=1, input=1, cached=0, output=1, dollars=dollars, unknown=unknown)


@dataclass(frozen=True)
class Bar:
    label: str
    colour: str
    height: float


def bars(days: Sequence[Sums]) -> list[Bar]:
    """Those of one day, as the legend names them."""
    (axes,) = usage_command.picture("key", days).axes
    legend = axes.get_legend()
    assert legend is not None
    drawn = [container for container in axes.containers if isinstance(container, BarContainer)]
    labels = [text.get_text() for text in legend.get_texts()]
    return [
        Bar(label, to_hex(bar[0].get_facecolor()), bar[0].get_height())
        for label, bar in zip(labels, drawn, strict=True)
    ]


def test_the_ten_dearest_and_the_rest_have_a_colour_each() -> None:
    found = bars([*(sums(name, 9) for name in TEN), sums("cheap", 1), sums("cheaper", 0.5)])
    assert [bar.label for bar in found] == [*TEN, "2 others"]
    assert len({bar.colour for bar in found}) == 11
    assert found[-1].height == pytest.approx(1.5)


@pytest.mark.parametrize("name", ["others", "1 others", "2 others", ""])
def test_a_key_is_never_taken_for_the_rest_whatever_its_name(name: str) -> None:
    found = bars([sums(name, 10), *(sums(each, 9) for each in TEN), sums("cheap", 1)])
    assert [bar.height for bar in found] == pytest.approx([10, *[9] * 9, 10])
    assert len({bar.colour for bar in found}) == 11


def test_no_rest_is_drawn_where_there_is_none() -> None:
    assert [bar.label for bar in bars([sums("others", 1)])] == ["others"]


def test_every_name_is_in_the_legend() -> None:
    assert [bar.label for bar in bars([sums("_batch", 3), sums("", 2), sums("trial", 0, unknown=1)])] == [
        "_batch",
        "-",
        "trial (unknown)",
    ]
