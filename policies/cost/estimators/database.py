"""RDS: PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import Charge, NotEstimated, Surroundings, always, number, spread
from policies.node import Resource

FREE_INSIGHTS_DAYS = 7


def instance(resource: Resource, _around: Surroundings) -> Iterator[Charge]:
    """Its storage grows by itself up to the most that it may."""
    if resource.get("engine") != "postgres":
        raise NotEstimated(f"the engine {resource.get('engine')}")
    zones = "multi-az." if resource.get("multiAz", False) else ""
    class_ = resource.get("instanceClass")
    yield always(f"{class_}{', in two zones' if zones else ''}", f"rds.postgres.{zones}{class_}")
    kind = resource.get("storageType", "gp2")
    least = number(resource, "allocatedStorage")
    most = max(least, number(resource, "maxAllocatedStorage", least))
    yield Charge(f"{spread(least, most)} GB of {kind}", f"rds.{zones}{kind}", least, most)
    if resource.get("manageMasterUserPassword", False):
        yield always("its password's secret", "secret", 1)
    if resource.get("iops") is not None or resource.get("storageThroughput") is not None:
        raise NotEstimated("iops or throughput of its own")
    if number(resource, "performanceInsightsRetentionPeriod", FREE_INSIGHTS_DAYS) > FREE_INSIGHTS_DAYS:
        raise NotEstimated(f"Performance Insights for more than {FREE_INSIGHTS_DAYS} days")
