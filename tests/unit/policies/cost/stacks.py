"""A small stack whose cost is counted by hand, and prices for it."""

from __future__ import annotations

from datetime import date
from typing import Any

from policies.cost.prices import Price, Prices, Share, Table
from policies.node import Resource
from policies.testing import resource

REGION = "us-east-1"
URL = "https://example.com/"
DAY = date(2026, 1, 1)


def price(usd: float | None) -> Price:
    return Price(usd=usd, unit="hour", as_of=DAY, source=URL)


def prices(**usd: float | None) -> Prices:
    """Of one region. A name's ``__`` is a dot, and its ``_`` a dash."""
    found = {key.replace("__", ".").replace("_", "-"): price(each) for key, each in usd.items()}
    shares = {"ec2.spot": Share(low=0.1, high=1, as_of=DAY, source=URL)}
    return Prices({"aws": Table(cloud="aws", currency="USD", shares=shares, regions={REGION: found})})


def task(cpu: str = "1024", memory: str = "2048", **more: Any) -> Resource:
    inputs = {
        "cpu": cpu,
        "memory": memory,
        "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": "[]",
        **more,
    }
    return resource("aws:ecs/taskDefinition:TaskDefinition", inputs, "task")


def service(of: Resource, **more: Any) -> Resource:
    inputs = {"launchType": "FARGATE", "desiredCount": 2, "region": REGION, **more}
    return resource("aws:ecs/service:Service", inputs, "web", links={"taskDefinition": [of]})


def target(of: Resource, least: int, most: int) -> Resource:
    inputs = {"minCapacity": least, "maxCapacity": most}
    return resource("aws:appautoscaling/target:Target", inputs, "web", links={"resourceId": [of]})


def template(**more: Any) -> Resource:
    disk = {"deviceName": "/dev/xvda", "ebs": {"volumeType": "gp3", "volumeSize": 100}}
    inputs = {"instanceType": "g6.xlarge", "blockDeviceMappings": [disk], **more}
    return resource("aws:ec2/launchTemplate:LaunchTemplate", inputs, "gpu")


def budget(usd: str = "100") -> Resource:
    inputs = {"limitAmount": usd, "limitUnit": "USD", "timeUnit": "MONTHLY", "budgetType": "COST", "region": REGION}
    return resource("aws:budgets/budget:Budget", inputs, "budget")
