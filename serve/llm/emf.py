"""Sums of use as lines of CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from serve.llm.ledger.store import Sums

NAMESPACE = "LanguageModels"
SECONDS_AN_HOUR = 3600
LATE = timedelta(minutes=15)
"""How long after its hour a request may end and be in that hour's sums: it counts when it began."""

LONGEST_DIMENSION = 1024
NONE = "-"
"""A dimension that does not apply: CloudWatch takes no empty one."""


def line(by: str, sums: Sums) -> str:
    """One span of one name. ``Dollars`` is not there where no price is known."""
    metrics: dict[str, tuple[float, str]] = {
        "Requests": (sums.requests, "Count"),
        "InputTokens": (sums.input, "Count"),
        "CachedTokens": (sums.cached, "Count"),
        "OutputTokens": (sums.output, "Count"),
        "RequestsOfUnknownPrice": (sums.unknown, "Count"),
    }
    if sums.unknown < sums.requests:
        metrics["Dollars"] = (sums.dollars, "None")
    dimension = by.capitalize()
    document: dict[str, Any] = {
        "_aws": {
            "Timestamp": round(sums.begins.timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [[dimension]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in metrics.items()],
                }
            ],
        },
        dimension: _dimension(sums.name),
        **{name: value for name, (value, _) in metrics.items()},
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def whole_hour(at: datetime) -> datetime:
    """The hour that a time is in."""
    return at.replace(minute=0, second=0, microsecond=0)


def _dimension(name: str) -> str:
    """As CloudWatch takes it: printable ASCII, not empty, and no colon first."""
    text = name.encode("ascii", "backslashreplace").decode("ascii")
    text = "".join(character if character.isprintable() else "?" for character in text).strip()
    return (f"_{text}" if text.startswith(":") else text or NONE)[:LONGEST_DIMENSION]
