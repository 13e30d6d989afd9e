"""``event-targets-have-dead-letters``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from policies.reading.dead_letters import leads_on
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

PATHS: Mapping[str, str] = {
    "aws:cloudwatch/eventTarget:EventTarget": "deadLetterConfig.arn",
    "aws:scheduler/schedule:Schedule": "target.deadLetterConfig.arn",
}


@stack_rule(
    "event-targets-have-dead-letters",
    *PATHS,
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy="dead_letter_config=EventTargetDeadLetterConfigArgs(arn=dead_letters(…).arn)",
    source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html",
)
def event_targets_have_dead_letters(stack: Stack) -> Iterable[Violation]:
    """An event that started nothing is kept in a queue."""
    return each_held(stack.of_type(*PATHS), partial(_of_target, stack))


def _of_target(stack: Stack, target: Resource) -> Iterable[Violation]:
    path = PATHS[target.type]
    if not leads_on(stack, target, path):
        yield target.violation(path, "a queue", None)
