"""State machines in Amazon's States Language: their states, and which leads to which.

https://states-language.net/spec.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.node import Node
from policies.reading.walk import join

MACHINE = "aws:sfn/stateMachine:StateMachine"
DEFINITION = "definition"


@dataclass(frozen=True)
class Flow:
    """A machine, a branch or the processor of a map: states of its own, in a known document."""

    node: Node

    @property
    def start(self) -> Any:
        return self.node.get("StartAt")

    def states(self) -> dict[str, Node]:
        """By name, which may have dots in it."""
        found = self.node.at("States")
        return {
            str(name): Node(each, join(found.path, str(name)), found.urn)
            for name, each in (found.value.items() if isinstance(found.value, dict) else ())
        }

    def reached(self, *, failing: bool = True) -> set[str]:
        """What ``StartAt`` leads to; not by way of a ``Catch``, without ``failing``."""
        states = self.states()
        found: set[str] = set()
        waiting = [self.start]
        while waiting:
            name = waiting.pop()
            if isinstance(name, str) and name in states and name not in found:
                found.add(name)
                waiting += [each.value for each in targets(states[name], failing=failing)]
        return found


def targets(state: Node, *, failing: bool = True) -> Iterator[Node]:
    """The names that a state leads to, whatever they are."""
    value = state.value if isinstance(state.value, dict) else {}
    for key in ("Next", "Default"):
        if key in value:
            yield state.at(key)
    for key in ("Choices", "Catch") if failing else ("Choices",):
        for each in state.each(key):
            yield each.at("Next")


def inner(state: Node) -> Iterator[Flow]:
    """The branches of a Parallel, and what a Map does with each item."""
    for branch in state.each("Branches"):
        yield Flow(branch)
    for key in ("ItemProcessor", "Iterator"):
        found = state.at(key)
        if found.value is not None:
            yield Flow(found)
