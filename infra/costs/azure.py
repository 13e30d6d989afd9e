"""Actual costs from Azure's Cost Management, with a token from the environment.

https://learn.microsoft.com/rest/api/cost-management/query/usage
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from infra.costs.spent import CostsError, Period, Spent
from infra.web import pages

SITE = "https://management.azure.com"
VERSION = "2023-11-01"
TOKEN = "AZURE_ACCESS_TOKEN"  # noqa: S105  the name of a variable
SUBSCRIPTION = "AZURE_SUBSCRIPTION_ID"
HOW = "az account get-access-token --query accessToken --output tsv"
ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Access:
    """``token``: a bearer's, of whoever asks."""

    subscription: str
    token: str
    site: str = SITE


def access(environment: Mapping[str, str], site: str = SITE) -> Access | None:
    """None: the environment names no subscription.

    Raises:
        CostsError: it names one, and the token is missing; or none that can be.
    """
    subscription, token = environment.get(SUBSCRIPTION, ""), environment.get(TOKEN, "").strip()
    if not subscription:
        return None
    if not ID.fullmatch(subscription):
        raise CostsError(f"{SUBSCRIPTION} is {subscription[:40]!r}, expected a subscription's id")
    if not token:
        raise CostsError(f"{SUBSCRIPTION} is set and {TOKEN} is not: export {TOKEN}=$({HOW})")
    return Access(subscription, token, site)


def read(to: Access, period: Period, tags: Mapping[str, str], tag: str = "") -> Iterator[Spent]:
    """What carries all these tags, by day, and by service or by the values of ``tag``.

    Raises:
        CostsError: Azure's answer is not in the format that is documented.
        WebError: it can't be reached, refuses, or leads to another site.
    """
    last = period.end - timedelta(days=1)
    wanted = [{"tags": {"name": key, "operator": "In", "values": [value]}} for key, value in tags.items()]
    query = {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": f"{period.first}T00:00:00Z", "to": f"{last}T23:59:59Z"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [{"type": "TagKey", "name": tag} if tag else {"type": "Dimension", "name": "ServiceName"}],
            "filter": {"and": wanted} if len(wanted) > 1 else wanted[0],
        },
    }
    url = f"{to.site}/subscriptions/{to.subscription}/providers/Microsoft.CostManagement/query?api-version={VERSION}"
    token = {"authorization": f"Bearer {to.token}"}
    for page in pages(url, lambda page: page["properties"].get("nextLink"), query, token):
        found = page.get("properties")
        if not isinstance(found, dict):
            raise CostsError("Azure's Cost Management answers without `properties`")
        yield from _rows(found, "TagValue" if tag else "ServiceName")


def _rows(found: Mapping[str, Any], group: str) -> Iterator[Spent]:
    try:
        names = [column["name"] for column in found["columns"]]
        for cells in found["rows"]:
            row = dict(zip(names, cells, strict=True))
            day = _date(row["UsageDate"])
            yield Spent(day, "Azure", str(row[group] or "(no value)"), float(row["Cost"]), str(row["Currency"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CostsError(
            f"Azure's Cost Management: expected rows with Cost, UsageDate, {group} and Currency: {error!r}"
        ) from error


def _date(value: Any) -> date:
    """``20261101``."""
    return datetime.strptime(str(value), "%Y%m%d").date()  # noqa: DTZ007  a day has no zone
