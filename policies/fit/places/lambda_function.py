"""A model on Lambda: one process, no Ray."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from policies.fit.demand import Actor
from policies.fit.misfit import Change
from policies.fit.place import Place
from policies.fit.places.ecs_task import ROLE
from policies.fit.size import Room
from policies.node import UNKNOWN, Node, Resource, Stack, unknown_at
from policies.reading.amounts import whole_or
from serve.settings import TEXT_VARIABLE

FUNCTION = "aws:lambda/function:Function"
INTEGRATION = "aws:apigatewayv2/integration:Integration"
ALIAS = "aws:lambda/alias:Alias"

MIB_A_CPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

MOST_MIB = 10_240
STEP_MIB = 128
DEFAULT_MIB = 128
DEFAULT_SECONDS = 3


@dataclass(frozen=True)
class LambdaFunction(Place):
    kind: ClassVar[str] = "Lambda function"
    on_ray: ClassVar[bool] = False

    def variable(self, name: str) -> Node:
        return self.resource.at(f"environment.variables.{name}")

    @property
    def image(self) -> Node:
        return self.resource.at("imageUri")

    @property
    def memory_mib(self) -> int:
        return whole_or(self.resource.get("memorySize"), DEFAULT_MIB)

    @property
    def seconds(self) -> int:
        return whole_or(self.resource.get("timeout"), DEFAULT_SECONDS)

    def rooms(self) -> Sequence[Room]:
        mib = self.memory_mib
        return [Room("the function", "memorySize", mib / MIB_A_CPU, mib, head=False)]

    def roles(self) -> Sequence[Resource]:
        return self.stack.linked(self.resource, "role", ROLE)

    def integrations(self) -> Iterator[Resource]:
        """Of the APIs that call it, by itself or by an alias."""
        called = (self.resource, *self.stack.linking(self.resource, "functionName", ALIAS))
        for each in called:
            yield from self.stack.linking(each, "integrationUri", INTEGRATION)

    def grown(self, room: Room, actors: Sequence[Actor]) -> Sequence[Change]:  # noqa: ARG002 - there is one room
        if any(each.gpus for each in actors):
            return ()
        needed = sum(each.memory_mib for each in actors)
        mib = math.ceil(needed / STEP_MIB) * STEP_MIB
        return [self.in_stack("function.memory", max(mib, self.memory_mib))] if mib <= MOST_MIB else ()


def lambda_functions(stack: Stack) -> Iterator[LambdaFunction]:
    """Those with serving settings.

    Raises:
        UnknownValueError: a function's variables aren't known. Those that are come before.
    """
    unknown = ""
    for each in stack.of_type(FUNCTION):
        variables = each.at("environment")
        if UNKNOWN in (variables.value, variables.at("variables").value if variables.value is not UNKNOWN else None):
            unknown = "environment.variables"
        elif variables.at(f"variables.{TEXT_VARIABLE}").value is not None:
            yield LambdaFunction(stack, each)
    if unknown:
        raise unknown_at(unknown)
