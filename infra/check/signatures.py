"""The marks in a raw value by which Pulumi says what it is: a secret, or another resource."""

from __future__ import annotations

from typing import Any

from policies.reading.walk import children

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
"""How a state says that a value is a secret.
https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py"""

RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
"""How a state says that a value is another resource, which no property of AWS or Azure takes."""


def is_secret(value: Any) -> bool:
    """Whether a raw value carries Pulumi's secret signature."""
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def plain(value: Any) -> Any:
    """A raw value without secret signatures; whole numbers as ``int``, for protobuf knows floats alone."""
    if is_secret(value):
        return plain(value["value"])
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def secret_paths(value: Any, path: str = "") -> frozenset[str]:
    """Where in a raw value there are secrets: ``environment.variables``, ``rules[0].token``."""
    if is_secret(value):
        return frozenset({path}) | secret_paths(value["value"], path)
    return frozenset().union(*(secret_paths(each, where) for where, each in children(value, path)))


def resource_path(value: Any, path: str = "") -> str | None:
    """Where in a raw value there is a resource: ``accessLogs.bucket``."""
    if isinstance(value, dict) and value.get(SIGNATURE) == RESOURCE:
        return path
    below = (resource_path(each, where) for where, each in children(value, path))
    return next((found for found in below if found is not None), None)
