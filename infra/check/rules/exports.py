"""What a stack exports: its secrets are secret there too."""

from __future__ import annotations

from collections.abc import Iterator

from infra.check.finding import Finding
from infra.check.record import Recording
from infra.check.signatures import is_secret
from policies.reading.plain_text import SIGNS, reads_as_secret

WHOLE = ("kubeconfig",)
"""Secret by what they are."""


def exports(recording: Recording) -> Iterator[Finding]:
    for name, raw in recording.raw_outputs.items():
        if is_secret(raw):
            continue
        named = any(each in name.lower() for each in WHOLE) or (isinstance(raw, str) and reads_as_secret(name, raw))
        signed = isinstance(raw, str) and any(pattern.search(raw) for pattern, _ in SIGNS)
        if named or signed:
            yield Finding(
                "the stack", f"outputs.{name}", "a secret, by pulumi.Output.secret", "an export in plain text"
            )
