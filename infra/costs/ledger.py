"""What language models took, by the ledger of their use.

It stands beside the bill and is never added to it: the bill has Bedrock's answers under its own name, and those of
models that run here in the price of their machines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time

from infra.costs.spent import Period
from serve.llm.ledger.store import SECONDS_A_DAY, Sums, open_store


def read(url: str, period: Period) -> list[Sums]:
    """By day and model, of the days of ``period`` in UTC, as those of a bill are.

    Raises:
        LedgerError: it can't be read.
    """
    first, end = (datetime.combine(day, time(), UTC) for day in (period.first, period.end))
    store = open_store(url)
    try:
        return store.sums("model", first, end, SECONDS_A_DAY)
    finally:
        store.close()


def table(sums: Sequence[Sums]) -> Iterator[str]:
    """A line for each model, and one before them."""
    if not sums:
        yield "  language models, by the ledger: no request in these days"
        return
    models: dict[str, list[Sums]] = defaultdict(list)
    for each in sums:
        models[each.name].append(each)
    yield "  language models, by the ledger (beside the bill, not on top of it):"
    width = max(map(len, models))
    for name, days in sorted(models.items()):
        dollars, requests, unknown = (
            sum(getattr(each, what) for each in days) for what in ("dollars", "requests", "unknown")
        )
        unpriced = f", {unknown:,} of unknown price" if unknown else ""
        shown = "unknown" if unknown == requests else f"{dollars:,.2f}"
        yield f"  {name:<{width}}  USD {shown:>12}  {requests:,} requests{unpriced}"
