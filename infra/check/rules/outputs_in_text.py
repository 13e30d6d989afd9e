"""An output that was put into a text as it is: Python writes a message there, and no value."""

from __future__ import annotations

from collections.abc import Iterator

from infra.check.finding import Finding
from infra.check.record import Recording
from policies.reading.walk import leaves

SIGN = "Calling __str__ on an Output"


def outputs_in_text(recording: Recording) -> Iterator[Finding]:
    expected = "pulumi.Output.concat, .format or .json_dumps of an output"
    for resource in recording.resources:
        if SIGN in resource.name:
            yield Finding(resource.type, "name", expected, SIGN)
        for path, value in leaves(resource.inputs):
            if isinstance(value, str) and SIGN in value:
                yield Finding(resource.label, path, expected, SIGN)
    for path, value in leaves(recording.outputs, "outputs"):
        if isinstance(value, str) and SIGN in value:
            yield Finding("the stack", path, expected, SIGN)
