"""Costs by day, as a picture: stacked bars, and the estimate's band behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from infra.costs.spent import CostsError, Period, Spent, totals
from serve.llm.ledger.store import Sums

MOST_GROUPS = 9
OTHERS = "others"


def draw(
    file: Path,
    title: str,
    period: Period,
    spent: Sequence[Spent],
    band: tuple[float, float],
    used: Sequence[Sums] = (),
) -> None:
    """``band``: dollars a day, idle and full. ``used``: of language models, by day; a line over the bars.

    Raises:
        CostsError: matplotlib is not installed, or the file can't be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CostsError("--plot needs matplotlib: pip install matplotlib") from error
    names = [f"{cloud}: {group}" for cloud, group, _ in totals(spent)]
    shown = names[:MOST_GROUPS]
    amounts: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for each in spent:
        name = f"{each.cloud}: {each.group}"
        amounts[name if name in shown else OTHERS][(each.day - period.first).days] += each.amount
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(*band, color="0.88", label=f"estimate: {band[0]:,.2f} to {band[1]:,.2f} a day", zorder=0)
    numbers = range(period.days)
    # A credit is below nothing, and what is spent isn't put on top of it.
    above, below = [0.0] * period.days, [0.0] * period.days
    for name in [*shown, OTHERS]:
        if name in amounts:
            heights = [amounts[name][number] for number in numbers]
            bottoms = [above[number] if heights[number] >= 0 else below[number] for number in numbers]
            # A dollar sign begins a formula.
            axes.bar(numbers, heights, bottom=bottoms, label=name.replace("$", r"\$"), width=0.8)
            above = [above[number] + max(0.0, heights[number]) for number in numbers]
            below = [below[number] + min(0.0, heights[number]) for number in numbers]
    if used:
        dollars = [0.0] * period.days
        for sums in used:
            dollars[(sums.begins.date() - period.first).days] += sums.dollars
        axes.plot(numbers, dollars, color="black", marker=".", label="language models, by the ledger")
    ticks = range(0, period.days, max(1, period.days // 10))
    axes.set_xticks(ticks, [f"{period.dates[number]:%d %b}" for number in ticks])
    axes.set_ylabel("USD a day")
    axes.set_title(title.replace("$", r"\$"))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    try:
        figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise CostsError(f"--plot {file}: cannot be written: {error.strerror}") from error
