"""What the recorded stack would cost in a month, by component."""

from __future__ import annotations

from collections.abc import Iterator

from infra.check.graph import stack_of
from infra.check.record import Recording
from policies.cost import NOT_COUNTED, Estimate, Line, Usage, estimate
from policies.cost.prices import shipped

LOOSE = "(in no component)"


def cost_table(recording: Recording, usage: Usage | None = None, region: str = "") -> Iterator[str]:
    """The stack's components, one a line: dollars a month with the least capacity and no request, and with all of it.

    What isn't known is in no sum: it is counted, and named below.

    Args:
        usage: what is assumed of a month, where it isn't what this repository assumes.
        region: of the AWS resources, where nothing in the stack names it.

    Raises:
        PricesError: a table of prices can't be read.
    """
    whole = estimate(stack_of(recording), usage=usage, region=region)
    rows = [(name, part) for name, part in by_component(recording, whole) if part.lines]
    width = max((len(name) for name, _ in [*rows, ("all", whole)]), default=0)
    yield f"  {'$ a month':<{width}}  {'idle':>9}  {'full':>9}"
    for name, part in [*rows, ("all", whole)]:
        yield f"  {name:<{width}}  {_amount(part, part.idle)}  {_amount(part, part.full)}{_missing(part)}"
    for line in whole.unknown:
        yield f"  unknown: {_told(line)}"
    oldest, newest = shipped().dates()
    yield f"  prices known as of {oldest} to {newest}; assumed of a month ({whole.usage.as_of}): {whole.usage.told()}"
    yield f"  not counted: {'; '.join(NOT_COUNTED)}"


def by_component(recording: Recording, whole: Estimate) -> list[tuple[str, Estimate]]:
    """The stack's outermost components, by name, each with its part of the estimate."""
    found = [(name, whole.of(frozenset(each.urn for each in below))) for name, below in recording.outermost()]
    placed = {line.urn for _, part in found for line in part.lines}
    loose = frozenset(line.urn for line in whole.lines) - placed
    return [*found, (LOOSE, whole.of(loose))] if loose else found


def _amount(part: Estimate, dollars: float) -> str:
    """What nothing is known of is no zero."""
    known = any(each.is_known for each in part.lines)
    return f"{dollars:>9,.2f}" if known else f"{'unknown':>9}"


def _missing(part: Estimate) -> str:
    return f"  and {len(part.unknown)} unknown" if part.unknown else ""


def _told(line: Line) -> str:
    return f"{line.label}: {line.what}: {line.unknown}" if line.what else f"{line.label}: {line.unknown}"
