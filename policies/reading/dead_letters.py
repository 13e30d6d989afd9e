"""Where what could not be handled is kept."""

from __future__ import annotations

from policies.node import UNKNOWN, Resource, Stack

QUEUE = "aws:sqs/queue:Queue"
TAKERS = (
    QUEUE,
    "aws:sns/topic:Topic",
    "aws:lambda/function:Function",
    "aws:cloudwatch/eventBus:EventBus",
    "aws:s3/bucket:Bucket",
)


def leads_on(stack: Stack, resource: Resource, path: str) -> bool:
    """Whether ``path`` names something; its ARN need not be known yet where it comes from one of the stack's.

    Raises:
        UnknownValueError: it isn't known, and comes from nothing that takes what failed.
    """
    if resource.at(path).value is UNKNOWN and stack.linked(resource, path.partition(".")[0], *TAKERS):
        return True
    return bool(resource.get(path))
