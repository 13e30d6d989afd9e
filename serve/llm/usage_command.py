"""``python -m serve usage``: what language models were used for, and for how much.

Errors::

    UserError
    ├── LedgerError          (serve.llm.ledger.store)
    └── UsageCommandError    no ledger is named, an argument is not what it should be, a file can't be written, or uses
                             may be missing from metrics
"""

from __future__ import annotations

import argparse
import contextlib
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from console import UserError, duration, say
from serve.llm import emf
from serve.llm.ledger.journal import take_over
from serve.llm.ledger.store import SECONDS_A_DAY, By, LedgerUnwritable, Sums, UsageStore, open_store
from serve.llm.settings import UsageSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADINGS = ("REQUESTS", "INPUT", "CACHED", "OUTPUT", "DOLLARS", "PRICE UNKNOWN")
MOST_SHOWN = 10
"""Of matplotlib's cycle of colours; the eighth is a grey, darker than that of the rest."""

COLOUR_OF_THE_REST = "lightgrey"
UNKNOWN = "unknown"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Where a cell begins with one of these a spreadsheet computes it: https://owasp.org/www-community/attacks/CSV_Injection"""

FEW_SECONDS = 5
"""A request that has just been written may be of a clock that is a little ahead."""


class UsageCommandError(UserError):
    """No ledger is named, an argument is not what it should be, a file can't be written, or uses may be missing."""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``usage`` to the commands of ``python -m serve``."""
    text = "what language models were used for: requests, tokens and dollars"
    parser = commands.add_parser("usage", help=text, description=text)
    parser.add_argument("--by", choices=get_args(By), default="model", help="default: model")
    parser.add_argument("--since", metavar="TIME", help="7d, 12h or 30m ago; default: from the first request")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every day there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the days' dollars there")
    parser.add_argument("--emf", action="store_true", help="print whole hours as CloudWatch's metrics, alone")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ledger", metavar="URL", help="default: the settings'")
    where.add_argument("--settings", default="", metavar="FILE", help="default: as `serve run` finds it")


def run(options: argparse.Namespace, settings: UsageSettings, now: datetime | None = None) -> int:
    """Show what the options ask for. ``settings`` name the ledger where the options do not.

    Raises:
        UsageCommandError: one of the above.
        LedgerError: the ledger can't be read.
    """
    url = options.ledger or settings.ledger
    if url is None:
        raise UsageCommandError(
            "usage.ledger is null, so no use is kept: set it in serve.yaml, or name one by --ledger"
        )
    now = now or datetime.now(UTC)
    since = None if options.since is None else now - _duration(options.since)
    if options.emf and options.by == "day":
        raise UsageCommandError("--emf: expected --by key, model, backend or prompt: a metric has its time beside it")
    if options.emf and (options.csv or options.plot):
        raise UsageCommandError("--emf: expected no --csv and no --plot beside it: run the command once for each")
    with contextlib.closing(open_store(url, settings.journals, settings.password)) as store:
        # Before an ingress that was killed starts again, what it had not brought there is in its journal.
        left = _take_over(store)
        if options.emf:
            _say_metrics(store, options.by, since, now)
            if left is not None:
                raise UsageCommandError(f"--emf: some uses may be missing from these metrics: {left}")
            return 0
        days = store.sums(options.by, since, now + timedelta(seconds=FEW_SECONDS), SECONDS_A_DAY)
    # Whoever reads the table may stop before its end.
    if options.csv is not None:
        _write(options.csv, options.by, days)
    if options.plot is not None:
        _draw(options.plot, options.by, days)
    for line in table(options.by, days):
        say(line)
    if left is not None:
        say(f"! some uses may be missing: {left}")
    for file in (options.csv, options.plot):
        if file is not None:
            say(f"✓ {file}")
    return 0


def table(by: By, days: Sequence[Sums]) -> list[str]:
    """A line for each name (or day), and one for all where there are several."""
    named = [replace(each, name=f"{each.begins:%Y-%m-%d}") for each in days] if by == "day" else days
    found = _together(named)
    if not found:
        return ["no request is in the ledger for this time"]
    rows: list[tuple[str, ...]] = [(by.upper(), *HEADINGS)]
    rows += [_row(each) for each in found]
    if len(found) > 1:
        rows.append(_row(_sum("all", found)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_aligned(row, widths)) for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    numbers = zip(row[1:], widths[1:], strict=True)
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in numbers)]


def _row(each: Sums) -> tuple[str, ...]:
    counts = (each.requests, each.input, each.cached, each.output)
    return (each.name or "-", *(f"{count:,}" for count in counts), _dollars(each), f"{each.unknown:,}")


def _dollars(each: Sums) -> str:
    return UNKNOWN if each.unknown == each.requests else f"{each.dollars:,.6f}"


def _together(days: Sequence[Sums]) -> list[Sums]:
    names: dict[str, list[Sums]] = defaultdict(list)
    for each in days:
        names[each.name].append(each)
    return [_sum(name, found) for name, found in sorted(names.items())]


def _sum(name: str, found: Sequence[Sums]) -> Sums:
    def total(what: str) -> Any:
        return sum(getattr(each, what) for each in found)

    counts = {what: total(what) for what in ("requests", "input", "cached", "output", "dollars", "unknown")}
    return Sums(begins=found[0].begins, name=name, **counts)


def _take_over(store: UsageStore) -> str | None:
    """Why it could not be done, if so."""
    try:
        take_over(store)
    except LedgerUnwritable as error:
        return str(error)
    return None


def _say_metrics(store: UsageStore, by: By, since: datetime | None, now: datetime) -> None:
    # An hour's sums are told once, so it must be over, and the requests that began in it too.
    until = emf.whole_hour(now - emf.LATE)
    first = None if since is None else emf.whole_hour(since - emf.LATE)
    for each in store.sums(by, first, until, emf.SECONDS_AN_HOUR):
        say(emf.line(by, each))


def _write(file: Path, by: By, days: Sequence[Sums]) -> None:
    try:
        with file.open("w", encoding="utf-8", newline="") as output:
            writer = csv.writer(output)
            name = {"day": [], "prompt": ["prompt", "prompt_version"]}.get(by, [by])
            writer.writerow(["day", *name, "requests", "input", "cached", "output", "dollars", "price_unknown"])
            for each in days:
                shown = [_text(column) for column in _columns(by, each.name)]
                counts = [each.requests, each.input, each.cached, each.output]
                # Empty, not 0, where no price is known.
                dollars = "" if each.unknown == each.requests else f"{each.dollars:.9f}"
                writer.writerow([f"{each.begins:%Y-%m-%d}", *shown, *counts, dollars, each.unknown])
    except OSError as error:
        raise UsageCommandError(f"--csv {file}: cannot be written: {error.strerror}") from error


def _columns(by: By, name: str) -> list[str]:
    match by:
        case "day":
            return []
        case "prompt":
            prompt, _, version = name.rpartition("/")
            return [prompt, version]
        case _:
            return [name]


def _text(cell: str) -> str:
    """A cell that a spreadsheet shows and never computes."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _draw(file: Path, by: By, days: Sequence[Sums]) -> None:
    try:
        figure = picture(by, days)
    except ImportError as error:
        raise UsageCommandError("--plot needs matplotlib: pip install matplotlib") from error
    try:
        figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise UsageCommandError(f"--plot {file}: cannot be written: {error.strerror}") from error


def picture(by: By, days: Sequence[Sums]) -> Figure:
    """The dollars of each day as bars: those of the dearest names, and of the rest together.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    dearest = sorted(_together(days), key=lambda each: -each.dollars)
    shown, rest = dearest[:MOST_SHOWN], dearest[MOST_SHOWN:]
    dates = _days(days)

    def heights(of: Sequence[Sums]) -> list[float]:
        names = {each.name for each in of}
        amounts: dict[datetime, float] = defaultdict(float)
        for each in days:
            if each.name in names:
                amounts[each.begins] += each.dollars
        return [amounts[day] for day in dates]

    bars = [(_label(each), f"C{number}", heights([each])) for number, each in enumerate(shown)]
    if rest:
        bars.append((_label(_sum(f"{len(rest)} others", rest)), COLOUR_OF_THE_REST, heights(rest)))
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    bottoms = [0.0] * len(dates)
    drawn = []
    for _, colour, found in bars:
        drawn.append(axes.bar(range(len(dates)), found, bottom=bottoms, color=colour, width=0.8))
        bottoms = [bottom + height for bottom, height in zip(bottoms, found, strict=True)]
    ticks = range(0, len(dates), max(1, len(dates) // 10))
    axes.set_xticks(ticks, [f"{dates[number]:%d %b}" for number in ticks])
    axes.set_ylabel("USD a day")
    unknown = sum(each.unknown for each in days)
    axes.set_title(f"Use of language models{f', without {unknown:,} requests of unknown price' if unknown else ''}")
    if by != "day" and bars:
        # Given to the legend, not to the bars: it leaves out bars whose own label begins with "_".
        labels = [label for label, _, _ in bars]
        axes.legend(drawn, labels, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", title=by)
    return figure


def _label(each: Sums) -> str:
    text = f"{each.name or '-'}{' (unknown)' if each.unknown == each.requests else ''}"
    # A dollar sign begins a formula.
    return text.replace("$", r"\$")


def _days(days: Sequence[Sums]) -> list[datetime]:
    """Every day from the first to the last, also those without a request."""
    if not days:
        return []
    first, last = days[0].begins, days[-1].begins
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _duration(text: str) -> timedelta:
    found = duration(text)
    if found is None:
        raise UsageCommandError(f"--since: expected a time such as 7d, 12h or 30m, got {text!r}")
    return found
