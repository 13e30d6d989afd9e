"""``queues-end-in-dead-letters``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from policies.node import UNKNOWN
from policies.reading.amounts import whole
from policies.reading.dead_letters import QUEUE
from policies.reading.links import comes_from
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

REDRIVE = "aws:sqs/redrivePolicy:RedrivePolicy"
FAILED = ("deadLetterConfig", "destinationConfig", "redrivePolicy", "target")
"""Properties that name the queue of what failed."""


@stack_rule(
    "queues-end-in-dead-letters",
    QUEUE,
    REDRIVE,
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy='redrive_policy=Output.json_dumps({"deadLetterTargetArn": …, "maxReceiveCount": 3})',
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html",
)
def queues_end_in_dead_letters(stack: Stack) -> Iterable[Violation]:
    """A queue is one of dead letters, or moves to one what is received too often."""
    return each_held(stack.of_type(QUEUE), partial(_of_queue, stack))


def _of_queue(stack: Stack, queue: Resource) -> Iterable[Violation]:
    if any(queue.urn in each.links.get(path, ()) for each in stack.resources for path in FAILED):
        return
    own = [queue, *(each for each in stack.of_type(REDRIVE) if comes_from(stack, each, "queueUrl", queue, "name"))]
    if not any(_moves(stack, each) for each in own):
        yield queue.violation("redrivePolicy", "a queue of dead letters", None)


def _moves(stack: Stack, resource: Resource) -> bool:
    if resource.at("redrivePolicy").value is UNKNOWN and stack.linked(resource, "redrivePolicy", QUEUE):
        return True
    policy = resource.document("redrivePolicy")
    return (
        policy is not None
        and bool(policy.get("deadLetterTargetArn"))
        and (whole(policy.get("maxReceiveCount")) or 0) > 0
    )
