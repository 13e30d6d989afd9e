"""``gpus-allowed``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from policies.node import Node
from policies.reading.gpus import family, gpu_requirements, has_gpu
from policies.reading.instances import TYPED, instance_types
from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Allowed(RuleConfig):
    allowed: bool = False
    families: tuple[str, ...] = ("g4dn", "g5", "g6", "g6e", "p4d", "p5")


@rule(
    "gpus-allowed",
    *TYPED,
    group="cost and fit",
    severity=Severity.HIGH,
    remedy="no `gpus` in `ecs` and `eks` of Pulumi.<stack>.yaml, or `allowed` and the family in the rule's config",
    source="https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html",
    config=Allowed,
)
def gpus_allowed(resource: Resource, config: Allowed) -> Iterable[Violation]:
    """Instances with GPUs are of the families that the stack may have, and of none where it may have none."""
    for named in instance_types(resource):
        if not has_gpu(named.value):
            continue
        if not config.allowed:
            yield named.violation("", "an instance without a GPU", named.value)
        elif family(named.value) not in config.families:
            yield named.violation("", f"a family of {', '.join(config.families) or 'none'}", named.value)
    for required in gpu_requirements(resource):
        if not config.allowed:
            yield required.violation("", "instances without GPUs", required.value)
        else:
            yield from _of_families(required, config.families)


def _of_families(required: Node, families: Sequence[str]) -> Iterable[Violation]:
    """EC2 takes any family with GPUs, unless the instances are named beside."""
    types = [each.get() for each in required.each("allowedInstanceTypes")]
    if not types or any(family(each) not in families for each in types):
        expected = f"instances of a family of {', '.join(families) or 'none'}"
        yield required.violation("allowedInstanceTypes", expected, ", ".join(map(str, types)))
