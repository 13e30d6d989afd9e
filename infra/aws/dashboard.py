"""CloudWatch's dashboards, from widgets whose keys can't be misspelt: AWS's provider takes them as one JSON text.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from infra.aws.alarms import Metric

COLUMNS = 24
WIDTH = 8
HEIGHT = 6


@dataclass(frozen=True)
class Line:
    """One metric of a widget; ``label`` is what the legend says. ``right``: on the axis of the right."""

    label: pulumi.Input[str]
    metric: Metric
    right: bool = False

    def document(self) -> list[Any]:
        dimensions = [part for pair in self.metric.dimensions.items() for part in pair]
        options = {
            "label": self.label,
            "stat": self.metric.statistic,
            "period": self.metric.period,
            "yAxis": "right" if self.right else "left",
        }
        return [self.metric.namespace, self.metric.name, *dimensions, options]


@dataclass(frozen=True)
class Widget:
    """Lines over time. ``limit``: a value of an alarm, drawn across."""

    title: str
    lines: Sequence[Line]
    limit: float | None = None

    def document(self, region: str, place: int) -> dict[str, Any]:
        """``place``: counted from the left above."""
        row, column = divmod(place, COLUMNS // WIDTH)
        properties: dict[str, Any] = {
            "title": self.title,
            "region": region,
            "view": "timeSeries",
            "stacked": False,
            "metrics": [line.document() for line in self.lines],
            "yAxis": {"left": {"min": 0}},
        }
        if self.limit is not None:
            properties["annotations"] = {"horizontal": [{"label": "alarm", "value": self.limit}]}
        return {
            "type": "metric",
            "x": column * WIDTH,
            "y": row * HEIGHT,
            "width": WIDTH,
            "height": HEIGHT,
            "properties": properties,
        }


def body(widgets: Sequence[Widget], region: str) -> pulumi.Output[str]:
    """The JSON for ``Dashboard.dashboard_body``, three widgets a row."""
    return pulumi.Output.json_dumps({"widgets": [each.document(region, place) for place, each in enumerate(widgets)]})
