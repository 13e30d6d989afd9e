"""``python -m infra prices``: how old the tables of prices are; ``--refresh``: read the clouds' price lists anew."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from console import Arguments, UserError, run, say, stage
from infra.prices import aws, azure
from infra.prices.found import Found
from policies.cost.prices import FOLDER, AwsQuery, AzureQuery, Price, PricesError, Table, read_table

NOT_FOUND = 1
"""Exit code when a price list lacks what was asked for: the table keeps the price that it had."""


class TableError(UserError):
    """A table of prices can't be read or written."""


@dataclass(frozen=True)
class Sites:
    aws: str = aws.SITE
    azure: str = azure.SITE


def main(argv: Sequence[str]) -> int:
    """Exit code 0: all is well, 1: a price was not found, 2: a mistake of the user's."""
    return run(lambda: _command(argv))


def _command(argv: Sequence[str]) -> int:
    parser = Arguments(prog="python -m infra prices", description=__doc__)
    parser.add_argument("--refresh", action="store_true", help="read the public price lists, and write what they say")
    parser.add_argument("--tables", type=Path, default=FOLDER, metavar="FOLDER", help="where the tables lie")
    parser.add_argument("--aws", default=aws.SITE, metavar="URL", help=f"a mirror of {aws.SITE}")
    parser.add_argument("--azure", default=azure.SITE, metavar="URL", help=f"a mirror of {azure.SITE}")
    given = parser.parse_args(list(argv))
    files = sorted(given.tables.glob("*.json"))
    if not files:
        raise TableError(f"--tables {given.tables}: no table of prices there")
    try:
        tables = {file: read_table(file) for file in files}
    except PricesError as error:
        raise TableError(str(error)) from error
    if not given.refresh:
        for table in tables.values():
            for line in _ages(table):
                say(line)
        return 0
    sites = Sites(given.aws.rstrip("/"), given.azure.rstrip("/"))
    missing = sum(_refresh(file, table, sites, datetime.now(UTC).date()) for file, table in tables.items())
    return NOT_FOUND if missing else 0


def _ages(table: Table) -> Iterator[str]:
    for region, prices in table.regions.items():
        known = [each for each in prices.values() if each.usd is not None]
        unseen = sum(not each.seen for each in known)
        ages = f", of {min(each.as_of for each in known)} to {max(each.as_of for each in known)}" if known else ""
        yield (
            f"{table.cloud} {region}: {len(known)} prices{ages}; {unseen} seen nowhere, "
            f"{len(prices) - len(known)} not known, {sum(not each.query for each in prices.values())} without a query"
        )


def _refresh(file: Path, table: Table, sites: Sites, today: date) -> int:
    """How many prices were not found. The file is written at the end: a site that fails leaves it as it was."""
    document = json.loads(file.read_text(encoding="utf-8"))
    missing = 0
    for region, prices in table.regions.items():
        for service, keys in sorted(_by_service(prices).items()):
            with stage(f"{table.cloud} {region} {service}") as current:
                found = _read(region, service, {key: prices[key] for key in keys}, sites)
                new = 0
                for key in keys:
                    usd = found.of(key)
                    if usd is None:
                        missing += 1
                        current.note(f"{key}: {found.trouble(key)}")
                        continue
                    if usd != prices[key].usd:
                        new += 1
                        current.note(f"{key}: {prices[key].usd} → {usd}")
                    document["regions"][region][key] |= {"usd": usd, "as_of": today.isoformat(), "seen": found.url}
                current.detail = f"{len(keys)} prices, {new} new"
    _write(file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return missing


def _by_service(prices: Mapping[str, Price]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key, price in prices.items():
        if price.query is not None:
            found[price.query.service].append(key)
    return found


def _read(region: str, service: str, prices: Mapping[str, Price], sites: Sites) -> Found:
    of_aws = {key: each.query for key, each in prices.items() if isinstance(each.query, AwsQuery)}
    if of_aws:
        return aws.read(region, service, of_aws, sites.aws)
    of_azure = {key: each.query for key, each in prices.items() if isinstance(each.query, AzureQuery)}
    return azure.read(region, service, of_azure, sites.azure)


def _write(file: Path, text: str) -> None:
    """All of it or nothing, and nothing that can't be read again."""
    beside = file.with_suffix(".new")
    try:
        beside.write_text(text, encoding="utf-8")
        read_table(beside)
        beside.replace(file)
    except OSError as error:
        raise TableError(f"{file}: cannot be written: {error.strerror}") from error
    except PricesError as error:
        raise TableError(f"not written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)
