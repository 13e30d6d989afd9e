"""Parts of Amazon's States Language that any state machine is made of.

https://states-language.net/spec.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

State = dict[str, Any]


def retry(*errors: str, seconds: int, attempts: int, most: int = 120) -> State:
    """Try again after ``seconds``, then after twice as long each time, at random within it: not all come at once."""
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": seconds,
        "MaxAttempts": attempts,
        "BackoffRate": 2,
        "MaxDelaySeconds": most,
        "JitterStrategy": "FULL",
    }


def transient(*errors: str) -> list[State]:
    """For what is over in seconds."""
    return [retry(*errors, seconds=2, attempts=3)]


def then(state: State, following: str | None) -> State:
    """The state with the name of the one after it; none ends its branch."""
    return {**state, "Next": following} if following else {**state, "End": True}


def text_of(template: str, *paths: str) -> str:
    """``States.Format(…)``: each ``{}`` is the value at the next path."""
    return f"States.Format('{template}', {', '.join(paths)})"


def array(*items: pulumi.Input[str]) -> pulumi.Input[str]:
    """``States.Array(…)`` of literals, paths and other functions."""
    separated: list[pulumi.Input[str]] = []
    for item in items:
        separated += [", ", item]
    return joined("States.Array(", *separated[1:], ")")


def literal(text: pulumi.Input[str]) -> pulumi.Input[str]:
    """A string of an intrinsic function. No text of ours has a quote in it: the settings' patterns allow none."""
    return joined("'", text, "'")


def joined(*parts: pulumi.Input[str]) -> pulumi.Input[str]:
    """One text; a plain one where all parts are, so that the document can be read with no program around it."""
    known = [part for part in parts if isinstance(part, str)]
    return "".join(known) if len(known) == len(parts) else pulumi.Output.concat(*parts)


def states_of(machine: Mapping[str, Any]) -> dict[str, State]:
    """Each state by its name, those of the branches too."""
    found: dict[str, State] = {}
    for name, state in machine["States"].items():
        found[name] = state
        for branch in state.get("Branches", ()):
            found |= states_of(branch)
    return found
