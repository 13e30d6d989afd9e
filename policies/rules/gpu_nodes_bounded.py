"""``gpu-nodes-bounded``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from policies.reading.amounts import between
from policies.reading.gpus import has_gpus
from policies.reading.instances import GROUP, NODE_GROUP, TEMPLATES
from policies.rule import Resource, RuleConfig, Severity, Stack, Violation, each_held, stack_rule

REPELLING = ("NO_SCHEDULE", "NO_EXECUTE")


class Bounds(RuleConfig):
    """``taint``: the key that keeps pods without a toleration off."""

    most: int = 8
    taint: str = "nvidia.com/gpu"


@stack_rule(
    "gpu-nodes-bounded",
    GROUP,
    NODE_GROUP,
    *TEMPLATES,
    group="compute",
    severity=Severity.HIGH,
    remedy="gpus: {least, most} of Pulumi.<stack>.yaml, and "
    'taints=[NodeGroupTaintArgs(key="nvidia.com/gpu", value="true", effect="NO_SCHEDULE")]',
    source="https://docs.aws.amazon.com/eks/latest/userguide/node-taints-managed-node-groups.html",
    config=Bounds,
)
def gpu_nodes_bounded(stack: Stack, config: Bounds) -> Iterable[Violation]:
    """Groups of instances with GPUs have a maximum, and in Kubernetes a taint that keeps other pods off them."""
    return each_held(stack.of_type(GROUP, NODE_GROUP), partial(_of_group, stack, config))


def _of_group(stack: Stack, config: Bounds, group: Resource) -> Iterable[Violation]:
    if has_gpus(stack, group):
        yield from _unbounded(group, config)


def _unbounded(group: Resource, config: Bounds) -> Iterable[Violation]:
    path = "scalingConfig.maxSize" if group.type == NODE_GROUP else "maxSize"
    yield from group.require(path, f"0 to {config.most}", lambda size: between(0, config.most, size))
    if group.type == NODE_GROUP and not any(
        taint.get("key") == config.taint and taint.get("effect") in REPELLING for taint in group.each("taints")
    ):
        yield group.violation("taints", f"{config.taint} with NO_SCHEDULE", group.get("taints"))
