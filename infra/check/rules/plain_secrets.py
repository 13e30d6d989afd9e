"""Secrets that anybody may read: in the state, in environments, in task definitions, in user data."""

from __future__ import annotations

from collections.abc import Iterator

from infra.check.finding import Finding
from infra.check.record import Recording
from policies.reading.plain_text import readings


def plain_secrets(recording: Recording) -> Iterator[Finding]:
    """Of every input that isn't secret to Pulumi. The finding never says the value."""
    for resource in recording.resources:
        if resource.custom:
            for each in readings(dict(resource.inputs), hides=resource.hides):
                yield Finding(resource.label, each.path, each.expected, each.got)
