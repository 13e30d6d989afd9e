"""``machines-watched``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.reading.states import MACHINE
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "machines-watched",
    MACHINE,
    group="operations",
    severity=Severity.LOW,
    remedy='logging_configuration=StateMachineLoggingConfigurationArgs(level="ALL", log_destination=…), '
    "tracing_configuration=StateMachineTracingConfigurationArgs(enabled=True)",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html",
)
def machines_watched(machine: Resource) -> Iterable[Violation]:
    """A state machine writes a log and is traced."""
    yield from machine.expect("loggingConfiguration.level", "ALL", "ERROR", "FATAL")
    yield from machine.expect("tracingConfiguration.enabled", True)
