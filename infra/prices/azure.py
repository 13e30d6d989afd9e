"""Azure's public retail prices, page by page.

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from infra.prices.found import Found
from infra.web import WebError, pages
from policies.cost.prices import AzureQuery

SITE = "https://prices.azure.com"
VERSION = "2023-01-01-preview"


def read(region: str, service: str, queries: Mapping[str, AzureQuery], site: str = SITE) -> Found:
    """The prices of one service, as one pays them by use.

    Raises:
        WebError: they can't be read, or aren't in their documented format.
    """
    terms = f"serviceName eq '{service}' and armRegionName eq '{region}' and priceType eq 'Consumption'"
    url = f"{site}/api/retail/prices?api-version={VERSION}&currencyCode=USD&$filter={quote(terms)}"
    found = Found(url)
    for item in _items(url):
        for key, query in queries.items():
            if _is(item, query):
                # As it is written down: a price of a million is exact, and its millionth should look so.
                found.add(key, float(f"{float(item['retailPrice']) * query.scale:.12g}"))
    return found


def _items(url: str) -> Iterator[Mapping[str, Any]]:
    for page in pages(url, lambda page: page.get("NextPageLink")):
        items = page.get("Items")
        if not isinstance(items, list):
            raise WebError(f"{url}: expected a list of Items")
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get("retailPrice"), int | float):
                raise WebError(f"{url}: expected items with a retailPrice")
            yield item


def _is(item: Mapping[str, Any], query: AzureQuery) -> bool:
    return (
        item.get("type", "Consumption") == "Consumption"
        and item.get("currencyCode", "USD") == "USD"
        and item.get("meterName") == query.meter
        and query.sku in ("", item.get("skuName"))
        and float(item.get("tierMinimumUnits") or 0) == query.start
    )
