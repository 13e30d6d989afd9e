"""``services-fit``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.fit import fit
from policies.fit.places import TYPES
from policies.rule import Severity, Stack, Violation, stack_rule


@stack_rule(
    "services-fit",
    *TYPES,
    group="cost and fit",
    severity=Severity.HIGH,
    remedy="the smallest change, which stands behind each misfit (docs/fit.md)",
)
def services_fit(stack: Stack) -> Iterable[Violation]:
    """What is served fits the nodes that the stack makes for it."""
    return fit(stack)
