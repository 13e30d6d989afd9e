"""AWS's public price list, by region and service: a CSV of up to some GB, read row by row.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api.html
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from infra.prices.found import Found
from infra.web import WebError, lines, opened
from policies.cost.prices import AwsQuery

SITE = "https://pricing.us-east-1.amazonaws.com"
LARGEST_LIST = 8 * 2**30
REGION_PREFIX = re.compile(r"(?:[A-Z]{2,4}[0-9]?|[a-z]{2}(?:-[a-z]+)+-[0-9])-")
"""Of a ``usageType``, in most regions: ``EUC1-BoxUsage:m7i.xlarge``."""

COLUMNS = ("SKU", "TermType", "StartingRange", "PricePerUnit", "Currency", "usageType", "operation")


def read(region: str, service: str, queries: Mapping[str, AwsQuery], site: str = SITE) -> Found:
    """The prices on demand of one service.

    Raises:
        WebError: the list can't be read, or isn't in its documented format.
    """
    url = f"{site}/offers/v1.0/aws/{service}/current/{region}/index.csv"
    found = Found(url)
    asked: dict[str, list[tuple[str, AwsQuery]]] = defaultdict(list)
    for key, query in queries.items():
        asked[query.usage].append((key, query))
    with opened(url) as answer:
        for row in _rows(csv.reader(lines(answer, LARGEST_LIST)), url):
            if row["TermType"] != "OnDemand" or row["Currency"] != "USD":
                continue
            for key, query in _matching(row["usageType"], asked):
                if _is(row, query):
                    found.add(key, _number(row["PricePerUnit"], url))
    return found


def _rows(reader: Iterator[list[str]], url: str) -> Iterator[Mapping[str, str]]:
    """The rows after the five of the list itself, and the one of the columns' names."""
    try:
        header = next((row for row in reader if row[:1] == ["SKU"]), [])
        if set(COLUMNS) - set(header):
            raise WebError(f"{url}: expected a price list with the columns {', '.join(COLUMNS)}")
        for row in reader:
            yield dict(zip(header, row, strict=False))
    except csv.Error as error:
        raise WebError(f"{url}: is no CSV: {error}") from error


def _matching(usage: str, asked: Mapping[str, list[tuple[str, AwsQuery]]]) -> Iterator[tuple[str, AwsQuery]]:
    yield from asked.get(usage, ())
    prefix = REGION_PREFIX.match(usage)
    if prefix:
        yield from asked.get(usage[prefix.end() :], ())


def _is(row: Mapping[str, str], query: AwsQuery) -> bool:
    return (
        query.operation in ("", row["operation"])
        and _starts(row["StartingRange"], query.start)
        and all(row.get(name) == value for name, value in query.attributes.items())
    )


def _number(text: str, url: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise WebError(f"{url}: expected a price, got {text[:40]!r}") from error


def _starts(text: str, start: float) -> bool:
    """A row without a range is of any quantity."""
    try:
        return float(text or 0) == start
    except ValueError:
        return False
