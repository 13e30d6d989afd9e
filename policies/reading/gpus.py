"""Which of EC2's instances have GPUs, and which groups are of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.node import UNKNOWN, Node, Resource, Stack
from policies.reading.amounts import whole
from policies.reading.instances import TEMPLATES, instance_types
from policies.reading.walk import last, nodes

FAMILIES = frozenset(
    {
        *("g2", "g3", "g3s", "g4ad", "g4dn", "g5", "g5g", "g6", "g6e", "g6f", "g7", "g7e", "gr6", "gr6f"),
        *("p2", "p3", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200"),
    }
)
"""Those with GPUs among the accelerated ones. https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html"""

IMAGES = ("GPU", "NVIDIA")
"""In the name of an EKS image that has drivers.
https://docs.aws.amazon.com/eks/latest/APIReference/API_Nodegroup.html"""


REQUIREMENTS = "instanceRequirements"


def family(instance_type: Any) -> str:
    """``g6`` of ``g6.xlarge``."""
    return str(instance_type).partition(".")[0]


def has_gpu(instance_type: Any) -> bool:
    return family(instance_type) in FAMILIES


def has_gpus(stack: Stack, group: Resource) -> bool:
    """Whether a group of instances is of such ones, by itself or by its template.

    Raises:
        UnknownValueError: its types, or its template's, aren't known.
    """
    if any(image in str(group.get("amiType")) for image in IMAGES):
        return True
    templates = [
        each
        for path in ("launchTemplate", "launchConfiguration", "mixedInstancesPolicy")
        for each in stack.linked(group, path, *TEMPLATES)
    ]
    given = (group, *templates)
    return any(has_gpu(named.value) for each in given for named in instance_types(each)) or any(
        True for each in given for _ in gpu_requirements(each)
    )


def gpu_requirements(resource: Resource) -> Iterator[Node]:
    """What a resource requires of instances that it doesn't name, where that takes GPUs.

    Raises:
        UnknownValueError: it isn't known.
    """
    for path, value in nodes(resource.value):
        if last(path) != REQUIREMENTS or not (value is UNKNOWN or isinstance(value, dict)):
            continue
        node = Node(value, path, resource.urn)
        kinds = [each.get() for each in node.each("acceleratorTypes")]
        # Without a kind, any will do: GPUs too.
        if "gpu" in kinds or (not kinds and (whole(node.get("acceleratorCount.min")) or 0) > 0):
            yield node
