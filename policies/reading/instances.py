"""EC2's instance types, wherever a resource names one."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import UNKNOWN, Node, unknown_at
from policies.reading.walk import last, leaves

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
GROUP = "aws:autoscaling/group:Group"
TEMPLATES = ("aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/launchConfiguration:LaunchConfiguration")

TYPED = (
    GROUP,
    NODE_GROUP,
    *TEMPLATES,
    "aws:ec2/capacityReservation:CapacityReservation",
    "aws:ec2/fleet:Fleet",
    "aws:ec2/instance:Instance",
    "aws:ec2/spotFleetRequest:SpotFleetRequest",
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
)
"""The resources that start instances, or say which are started."""

NAMES = frozenset({"instanceType", "instanceTypes"})
HOLDERS = frozenset({"launchSpecifications", "launchTemplateConfigs", "mixedInstancesPolicy", "overrides"})
"""Properties that have one of :data:`NAMES` somewhere in them."""


def instance_types(resource: Node) -> Iterator[Node]:
    """Each type that a resource names.

    Raises:
        UnknownValueError: one isn't known. Those that are come before.
    """
    unknown = ""
    for path, value in leaves(resource.value):
        if value is UNKNOWN:
            # A group's own template has no type in it; that of a policy has overrides.
            holds = last(path) in NAMES | HOLDERS or path.endswith(".launchTemplate") or not path
            unknown = unknown or (path if holds else "")
        elif last(path) in NAMES and value is not None:
            yield Node(value, path, resource.urn)
    if unknown:
        raise unknown_at(unknown)
