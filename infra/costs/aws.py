"""Actual costs from AWS Cost Explorer. Each request to it costs a cent.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostAndUsage.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from console.aws import AwsDenied, AwsError, client, code_of, mapped
from infra.costs.spent import CostsError, Period, Spent

METRIC = "UnblendedCost"
REGION = "us-east-1"
"""Cost Explorer answers there, for all regions."""

WHERE = "AWS Cost Explorer"
ACTION = "call ce:GetCostAndUsage"
TRIES = 3
MOST_PAGES = 100


def read(period: Period, tags: Mapping[str, str], tag: str = "") -> Iterator[Spent]:
    """What carries all these tags, by day, and by service or by the values of ``tag``.

    Raises:
        CostsError: the account has no Cost Explorer, it has no data yet, or too much of it.
        AwsError: no boto3, no credentials, no access, or a period that it doesn't have.
    """
    request: dict[str, Any] = {
        "TimePeriod": {"Start": period.first.isoformat(), "End": period.end.isoformat()},
        "Granularity": "DAILY",
        "Metrics": [METRIC],
        "Filter": {"And": [{"Tags": {"Key": key, "Values": [value]}} for key, value in tags.items()]},
        "GroupBy": [{"Type": "TAG", "Key": tag} if tag else {"Type": "DIMENSION", "Key": "SERVICE"}],
    }
    explorer = client("ce", WHERE, tries=TRIES, region=REGION)
    for _ in range(MOST_PAGES):
        answer = _page(explorer, request)
        for result in answer["ResultsByTime"]:
            yield from _of_a_day(result)
        if not answer.get("NextPageToken"):
            return
        request["NextPageToken"] = answer["NextPageToken"]
    raise CostsError(f"{WHERE} answers with more than {MOST_PAGES} pages: ask for fewer days")


def _page(explorer: Any, request: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        with mapped(WHERE, ACTION):
            page: Mapping[str, Any] = explorer.get_cost_and_usage(**request)
            return page
    except AwsError as error:
        # AWS denies what is not enabled, which no permission mends.
        if isinstance(error, AwsDenied) and "not enabled" in str(error).lower():
            raise CostsError(f"{WHERE} is not enabled in this account: open it once in the billing console") from error
        if code_of(error.__cause__) == "DataUnavailableException":
            raise CostsError(f"{WHERE} has no data yet: it takes a day after it was enabled") from error
        raise


def _of_a_day(result: Mapping[str, Any]) -> Iterator[Spent]:
    day = date.fromisoformat(result["TimePeriod"]["Start"][:10])
    for group in result.get("Groups", ()):
        cost = group["Metrics"][METRIC]
        # A tag's group is `key$value`, and without a value where there is none.
        name = ", ".join(key.rpartition("$")[2] or "(no value)" for key in group["Keys"])
        yield Spent(day, "AWS", name, float(cost["Amount"]), cost["Unit"])
