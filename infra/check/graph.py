"""A recorded stack as the rules of the policy pack see one."""

from __future__ import annotations

from infra.check.record import Recording
from policies.node import Resource, Stack


def stack_of(recording: Recording) -> Stack:
    """Nothing is unknown in it."""
    return Stack(
        tuple(
            Resource(
                dict(each.inputs),
                type=each.type,
                name=each.name,
                urn=each.urn,
                protect=bool(each.options["protect"]),
                links=each.property_dependencies,
            )
            for each in recording.resources
        )
    )
