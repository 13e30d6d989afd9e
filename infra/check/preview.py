"""What ``pulumi preview --json`` printed: the changes, the policy pack's violations, errors and warnings.

By default that is one document, in which Pulumi leaves violations out. With
``PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true`` it is one event a line, with them. Both are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from console import UserError, one_line

UNCHANGED = ("same", "read", "refresh")
"""Operations that change nothing: they are counted, and not listed."""

TOLD = ("error", "warning")

DOCUMENT = {"steps", "diagnostics", "changeSummary", "config", "duration"}
"""Keys of the one document, each of which is left out where it would be empty."""

SILENT = "it printed nothing: see the run"


class PreviewError(UserError):
    """It is not what ``pulumi preview --json`` prints."""


class _Model(BaseModel):
    """Another program's output: what is not asked for may be there."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Step(_Model):
    op: str
    urn: str


class Diagnostic(_Model):
    message: str = ""
    severity: str = "info"
    urn: str = ""
    ephemeral: bool = False


class Violation(_Model):
    message: str
    policy: str = Field(alias="policyName")
    level: str = Field(alias="enforcementLevel")
    urn: str = Field("", alias="resourceUrn")


class Document(_Model):
    """Without streaming."""

    steps: tuple[Step, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    changes: dict[str, int] = Field({}, alias="changeSummary")


class _Planned(_Model):
    metadata: Step


class _Summary(_Model):
    changes: dict[str, int] = Field({}, alias="resourceChanges")


class Event(_Model):
    """With streaming: at most one of these is there, for most events tell nothing here."""

    sequence: int
    planned: _Planned | None = Field(None, alias="resourcePreEvent")
    diagnostic: Diagnostic | None = Field(None, alias="diagnosticEvent")
    violation: Violation | None = Field(None, alias="policyEvent")
    summary: _Summary | None = Field(None, alias="summaryEvent")


def sections(text: str, name: str = "the preview") -> dict[str, str]:
    """Title → lines. ``name``: of the file, for a mistake.

    Raises:
        PreviewError: it is neither the document nor the events.
    """
    if not text.strip():
        return {"preview": SILENT}
    try:
        return _of_document(text) or _of_events(text)
    except (ValidationError, json.JSONDecodeError) as error:
        raise PreviewError(f"{name}: is not what `pulumi preview --json` prints: {one_line(str(error))}") from error


def _of_document(text: str) -> dict[str, str]:
    """Empty: it is another thing."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    if not isinstance(found, dict) or not DOCUMENT & found.keys():
        return {}
    document = Document.model_validate(found)
    return _sections(document.steps, document.changes, None, document.diagnostics)


def _of_events(text: str) -> dict[str, str]:
    lines: Iterable[Any] = (json.loads(line) for line in text.split("\n") if line.strip())
    events = [Event.model_validate(line) for line in lines]
    summaries = [each.summary.changes for each in events if each.summary is not None]
    return _sections(
        [each.planned.metadata for each in events if each.planned is not None],
        summaries[-1] if summaries else {},
        [each.violation for each in events if each.violation is not None],
        [each.diagnostic for each in events if each.diagnostic is not None],
    )


def _sections(
    steps: Sequence[Step],
    changes: dict[str, int],
    violations: Sequence[Violation] | None,
    diagnostics: Sequence[Diagnostic],
) -> dict[str, str]:
    counted = changes or Counter(each.op for each in steps)
    planned = [f"{each.op:<8}  {_resource(each.urn)}" for each in steps if each.op not in UNCHANGED]
    told = [each for each in diagnostics if each.severity in TOLD and not each.ephemeral and each.message.strip()]
    found = {f"preview: {_counts(counted) or 'no changes'}": "\n".join(planned)}
    if violations is None:
        found["policy pack: not in this output, see PULUMI_ENABLE_STREAMING_JSON_PREVIEW"] = ""
    else:
        levels = Counter(each.level for each in violations)
        found[f"policy pack: {_counts(levels) or 'no violations'}"] = "\n".join(
            one_line(f"[{each.level}] {each.policy}  {_resource(each.urn)}: {each.message}")
            for each in sorted(violations, key=lambda each: each.level != "mandatory")
        )
    if told:
        found[f"messages: {_counts(Counter(each.severity for each in told))}"] = "\n".join(
            one_line(f"{each.severity}  {_resource(each.urn)}: {each.message}") for each in told
        )
    return found


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))


def _resource(urn: str) -> str:
    """Type and name: ``urn:pulumi:dev::project::ml:aws:Storage$aws:s3/bucket:Bucket::data`` is a bucket named data."""
    parts = urn.split("::", 3)
    return f"{parts[2].rpartition('$')[2]} {parts[3]}" if len(parts) == 4 else urn or "the stack"
