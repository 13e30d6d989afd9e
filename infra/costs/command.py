"""``python -m infra costs``: what a stack did cost, from AWS Cost Explorer and Azure, beside its estimate."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from console import Arguments, run, say, stage
from infra import settings
from infra.check.graph import stack_of
from infra.check.record import record
from infra.costs import aws, azure, ledger
from infra.costs.plot import draw
from infra.costs.spent import CostsError, Period, Spent, totals
from policies.cost import HOURS, Estimate, estimate

MOST_DAYS = 365
DAYS_OF_A_MONTH = HOURS / 24
GROUPS = ("service", "tag", "day")
USD = "USD"

Program = Callable[[], None]


@dataclass(frozen=True)
class Asked:
    """``tag``: by whose values the costs are grouped; by service where it is empty."""

    stack: str
    folder: Path
    days: int
    by: str
    tag: str
    csv: Path | None
    plot: Path | None
    ledger: str | None


def main(
    argv: Sequence[str],
    program: Program | None = None,
    environment: Mapping[str, str] = os.environ,
    azure_site: str = azure.SITE,
) -> int:
    """Exit code 0, or 2: a mistake of the user's."""
    return run(lambda: _report(_asked(argv), program or _stack_program(), environment, azure_site))


def _asked(argv: Sequence[str]) -> Asked:
    parser = Arguments(prog="python -m infra costs", description=__doc__)
    parser.add_argument("--stack", required=True, help="its settings are in Pulumi.STACK.yaml")
    parser.add_argument("--days", type=int, default=30, help="the last whole days (30)")
    parser.add_argument("--by", choices=GROUPS, default="service", help="what a line of the table is (service)")
    parser.add_argument("--tag", default="owner", metavar="KEY", help="of --by tag (owner)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every day and group there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the days there")
    parser.add_argument("--ledger", metavar="URL", help="of language models' use, to be shown beside it")
    parser.add_argument("--folder", type=Path, default=Path(), help="where Pulumi.yaml lies (here)")
    given = parser.parse_args(list(argv))
    if not 1 <= given.days <= MOST_DAYS:
        raise CostsError(f"--days {given.days}: expected 1 to {MOST_DAYS}")
    return Asked(
        given.stack,
        given.folder,
        given.days,
        given.by,
        given.tag if given.by == "tag" else "",
        given.csv,
        given.plot,
        given.ledger,
    )


def _report(asked: Asked, program: Program, environment: Mapping[str, str], azure_site: str) -> int:
    file = asked.folder / f"Pulumi.{asked.stack}.yaml"
    stack = settings.read_settings(file)
    access = azure.access(environment, azure_site) if stack.azure is not None else None
    period = Period.before(datetime.now(UTC).date(), asked.days)
    # Before the request that costs a cent: it may not be there.
    used = None if asked.ledger is None else ledger.read(asked.ledger, period)
    spent = _spent(asked, period, access)
    with stage(f"estimate {asked.stack}"):
        cost = _estimated(asked.stack, file, program)
    say(f"  {asked.stack}, {period}, {period.days} days")
    for line in _table(asked, period, spent):
        say(line)
    share = period.days / DAYS_OF_A_MONTH
    unknown = f", and {len(cost.unknown)} lines unknown" if cost.unknown else ""
    idle, full = cost.idle * share, cost.full * share
    say(f"  estimated for {period.days} days: {USD} {idle:,.2f} idle, {full:,.2f} full{unknown}")
    if used is not None:
        for line in ledger.table(used):
            say(line)
    if stack.azure is not None and access is None:
        say(f"  not asked: Azure: set {azure.SUBSCRIPTION}, and {azure.TOKEN}=$({azure.HOW})")
    if asked.csv is not None:
        _write(asked.csv, spent)
    if asked.plot is not None:
        in_dollars = [each for each in spent if each.currency == USD]
        band = (cost.idle / DAYS_OF_A_MONTH, cost.full / DAYS_OF_A_MONTH)
        draw(asked.plot, f"{asked.stack}, {period}", period, in_dollars, band, used or ())
    return 0


def _spent(asked: Asked, period: Period, access: azure.Access | None) -> list[Spent]:
    tags = {"project": settings.PROJECT, "stack": asked.stack}
    with stage("ask AWS Cost Explorer"):
        spent = list(aws.read(period, tags, asked.tag))
    if access is not None:
        with stage("ask Azure Cost Management"):
            spent += azure.read(access, period, tags, asked.tag)
    return spent


def _stack_program() -> Program:
    from infra.__main__ import program

    return program


def _estimated(stack: str, file: Path, program: Program) -> Estimate:
    recording = record(program, project=settings.PROJECT, stack=stack, config=settings.config_of(file))
    return estimate(stack_of(recording))


def _table(asked: Asked, period: Period, spent: Sequence[Spent]) -> Iterator[str]:
    if not spent:
        yield "  nothing was spent, or nothing carries the tags: activate `project` and `stack` as cost allocation tags"
        return
    rows = _by_day(period, spent) if asked.by == "day" else _by_group(spent)
    width = max(len(name) for name, _, _ in rows)
    for name, amount, currency in rows:
        yield f"  {name:<{width}}  {currency} {amount:>12,.2f}"
    for currency in sorted({each.currency for each in spent}):
        whole = sum(each.amount for each in spent if each.currency == currency)
        yield f"  {'all':<{width}}  {currency} {whole:>12,.2f}"


def _by_group(spent: Sequence[Spent]) -> list[tuple[str, float, str]]:
    return [(f"{cloud}: {group}", amount, currency) for (cloud, group, currency), amount in totals(spent).items()]


def _by_day(period: Period, spent: Sequence[Spent]) -> list[tuple[str, float, str]]:
    return [
        (str(day), sum(each.amount for each in spent if (each.day, each.currency) == (day, currency)), currency)
        for currency in sorted({each.currency for each in spent})
        for day in period.dates
    ]


def _write(file: Path, spent: Sequence[Spent]) -> None:
    try:
        with file.open("w", encoding="utf-8", newline="") as output:
            writer = csv.writer(output)
            writer.writerow(["day", "cloud", "group", "amount", "currency"])
            for each in sorted(spent, key=lambda each: (each.day, each.cloud, each.group)):
                writer.writerow([each.day, each.cloud, each.group, f"{each.amount:.6f}", each.currency])
    except OSError as error:
        raise CostsError(f"--csv {file}: cannot be written: {error.strerror}") from error
