"""``autoscaling-bounded``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.reading.amounts import whole
from policies.reading.instances import GROUP, NODE_GROUP
from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Bounds(RuleConfig):
    most: int = 50


@dataclass(frozen=True)
class Sizes:
    """The paths of a type's sizes."""

    least: str
    most: str
    wanted: str = ""


SCALED: Mapping[str, Sizes] = {
    "aws:appautoscaling/target:Target": Sizes("minCapacity", "maxCapacity"),
    GROUP: Sizes("minSize", "maxSize", "desiredCapacity"),
    NODE_GROUP: Sizes("scalingConfig.minSize", "scalingConfig.maxSize", "scalingConfig.desiredSize"),
    "azure-native:app:ContainerApp": Sizes("template.scale.minReplicas", "template.scale.maxReplicas"),
}


@rule(
    "autoscaling-bounded",
    *SCALED,
    group="cost and fit",
    severity=Severity.MEDIUM,
    remedy="least and most of Pulumi.<stack>.yaml, not above the rule's own `most`",
    source="https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-capacity-limits.html",
    config=Bounds,
)
def autoscaling_bounded(resource: Resource, config: Bounds) -> Iterable[Violation]:
    """What scales by itself has a maximum that the stack can pay, and a minimum and a size that are not above it."""
    sizes = SCALED[resource.type]
    most = whole(resource.get(sizes.most))
    if most is None or most > config.most:
        yield resource.violation(sizes.most, f"a maximum of at most {config.most}", resource.get(sizes.most))
        return
    least = whole(resource.get(sizes.least, 0))
    if least is None or not 0 <= least <= most:
        yield resource.violation(sizes.least, f"0 to the maximum of {most}", resource.get(sizes.least))
        return
    wanted = resource.get(sizes.wanted) if sizes.wanted else None
    if wanted is not None and (whole(wanted) is None or not least <= (whole(wanted) or 0) <= most):
        yield resource.violation(sizes.wanted, f"{least} to {most}", wanted)
