"""``instance-types-known``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from policies.reading.instances import TYPED, instance_types
from policies.reading.shapes import shape_of
from policies.rule import Resource, Severity, Violation, rule

DATABASES = ("aws:rds/clusterInstance:ClusterInstance", "aws:rds/instance:Instance")
DATABASE = re.compile(r"db\.(serverless|[a-z]+[0-9][a-z0-9]*\.(micro|small|medium|large|[0-9]*xlarge)(\.[a-z0-9.]+)?)")
"""The SDK has no list of these."""

FORM = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


@rule(
    "instance-types-known",
    *TYPED,
    *DATABASES,
    group="compute",
    severity=Severity.HIGH,
    remedy="instance_type or database_class of Pulumi.<stack>.yaml, one that AWS has",
    source="https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html",
)
def instance_types_known(resource: Resource) -> Iterable[Violation]:
    """Instance types are those that AWS has: a plan takes any text."""
    if resource.type in DATABASES:
        yield from resource.require("instanceClass", "a class such as db.t4g.micro", _is_database)
        return
    for named in instance_types(resource):
        if not _is_type(named.value):
            yield named.violation("", "an instance type of EC2", named.value)


def _is_database(value: Any) -> bool:
    return isinstance(value, str) and DATABASE.fullmatch(value) is not None


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and (value in known() if known() else FORM.fullmatch(value) is not None)


@cache
def known() -> frozenset[str]:
    """EC2's instance types by the list of AWS's own SDK; none where it isn't installed, and the form alone is held."""
    try:
        return frozenset(shape_of("ec2", "InstanceType").enum)
    except ImportError:
        return frozenset()
