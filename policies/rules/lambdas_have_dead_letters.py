"""``lambdas-have-dead-letters``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from policies.reading.dead_letters import leads_on
from policies.reading.links import comes_from
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

FUNCTION = "aws:lambda/function:Function"
INVOKED = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"


@stack_rule(
    "lambdas-have-dead-letters",
    FUNCTION,
    INVOKED,
    group="pipelines and functions",
    severity=Severity.MEDIUM,
    remedy="dead_letter_config=FunctionDeadLetterConfigArgs(target_arn=dead_letters(…).arn)",
    source="https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html",
)
def lambdas_have_dead_letters(stack: Stack) -> Iterable[Violation]:
    """An event that a function could not handle is kept in a queue or a topic."""
    return each_held(stack.of_type(FUNCTION), partial(_of_function, stack))


def _of_function(stack: Stack, function: Resource) -> Iterable[Violation]:
    if any(
        comes_from(stack, each, "functionName", function, "name")
        and leads_on(stack, each, "destinationConfig.onFailure.destination")
        for each in stack.of_type(INVOKED)
    ):
        return
    if not leads_on(stack, function, "deadLetterConfig.targetArn"):
        yield function.violation("deadLetterConfig.targetArn", "a queue or a topic", None)
