"""``fargate-sizes``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.reading.amounts import whole
from policies.reading.fargate import CPUS, MEMORY, cpu_units, memory_mib, memory_of
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "fargate-sizes",
    "aws:ecs/taskDefinition:TaskDefinition",
    group="compute",
    severity=Severity.HIGH,
    remedy="size: {cpu, memory} of Pulumi.<stack>.yaml, a pair that AWS sells",
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html",
)
def fargate_sizes(task: Resource) -> Iterable[Violation]:
    """A Fargate task has a CPU and memory that go together, its own network and role, and containers that fit in."""
    if all(each.get() != "FARGATE" for each in task.each("requiresCompatibilities")):
        return
    yield from _pair(task)
    yield from task.expect("networkMode", "awsvpc")
    yield from _containers(task)
    yield from task.require("executionRoleArn", "a role to pull the image and write logs with")


def _pair(task: Resource) -> Iterator[Violation]:
    cpu = cpu_units(task.get("cpu"))
    if cpu is None or cpu not in MEMORY:
        yield task.violation("cpu", f"one of {CPUS}", task.get("cpu"))
    elif memory_mib(task.get("memory")) not in MEMORY[cpu]:
        yield task.violation("memory", f"{memory_of(cpu)} with cpu {cpu}", task.get("memory"))


def _containers(task: Resource) -> Iterator[Violation]:
    document = task.document("containerDefinitions")
    for key, read in (("cpu", cpu_units), ("memory", memory_mib)) if document else ():
        limit = read(task.get(key))
        asked = sum(whole(each.get(key)) or 0 for each in (document.each() if document else ()))
        if limit is not None and asked > limit:
            yield task.violation("containerDefinitions", f"at most the task's {key} {limit} in all", asked)
