"""A stack, the command that asks what it did cost, and what moto's Cost Explorer then says."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi_aws

from infra.costs import azure
from infra.costs.command import main
from infra.costs.spent import Period

PERIOD = Period(date(2026, 11, 1), date(2026, 11, 3))


def program() -> None:
    pulumi_aws.ec2.Eip("address", region="us-east-1")


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        answer.read()


def day(first: date, groups: dict[str, str], unit: str = "USD") -> dict[str, Any]:
    return {
        "TimePeriod": {"Start": first.isoformat(), "End": (first + timedelta(days=1)).isoformat()},
        "Total": {},
        "Groups": [
            {"Keys": [key], "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": unit}}}
            for key, amount in groups.items()
        ],
        "Estimated": False,
    }


def told(moto: str, *pages: dict[str, Any]) -> None:
    post(f"{moto}/moto-api/static/ce/cost-and-usage-results", {"results": list(pages)})


def last(number: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=number)


def run(folder: Path, *more: str, environment: dict[str, str] | None = None, site_: str = azure.SITE) -> int:
    argv = ["--stack", "dev", "--folder", str(folder), *more]
    return main(argv, program, environment or {}, site_)
